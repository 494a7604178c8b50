mod callbacks;
mod speech;

fn main() {}
