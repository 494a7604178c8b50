//! baresip, a softphone of other people's making, as a process with files of its own.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use media::Clip;
use tempfile::TempDir;

use super::{PATIENCE, tone};

/// What it says on every call, Hz.
pub const SAYS_HZ: f32 = 300.0;

/// A running baresip; killed when dropped.
pub struct Baresip {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    directory: TempDir,
}

impl Baresip {
    /// `account` makes of the address that it listens at a line of its accounts, and says which line of its output
    /// shows that it is ready. It cannot take port 0; somebody else may take the port before it does: then another one.
    pub fn start(account: impl Fn(SocketAddr) -> (String, &'static str)) -> Baresip {
        let free = || UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let tries = std::iter::repeat_with(|| free().expect("an address")).take(5);
        let mut started = tries.filter_map(|at| {
            let (account, ready) = account(at);
            Baresip::start_at(at, &account, ready)
        });
        started.next().expect("baresip starts")
    }

    fn start_at(address: SocketAddr, account: &str, ready: &str) -> Option<Baresip> {
        let directory = TempDir::new().expect("a directory");
        let at = directory.path();
        let source = at.join("source.wav");
        std::fs::write(&source, tone(SAYS_HZ, 20.0)).expect("a file");
        let config = config(address, at, &source);
        let account = format!("{account}\n");
        for (name, text) in [("config", config), ("accounts", account), ("contacts", String::new())]
        {
            std::fs::write(at.join(name), text).expect("a file");
        }
        let mut child = Command::new("baresip")
            .args(["-f", &at.display().to_string(), "-v"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("baresip is installed (Debian's baresip-core; `cargo xtask test` installs it)");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = stdout.lines();
        let baresip = Baresip { child, address, directory };
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let ready = ready.to_owned();
        std::thread::spawn(move || {
            let is_ready = lines.any(|line| line.is_ok_and(|line| line.contains(&ready)));
            // Nobody may be waiting any more.
            let _ = tell.send(is_ready);
            // Read on, so that it never waits for its own output.
            lines.for_each(drop);
        });
        told.recv_timeout(PATIENCE).expect("baresip gets ready").then_some(baresip)
    }

    /// Ends it; what it heard in its one call.
    pub fn heard(mut self) -> Vec<i16> {
        self.kill();
        let files = std::fs::read_dir(self.directory.path()).expect("a directory");
        let mut names = files.map(|file| file.expect("an entry").path());
        let heard = names.find(|path| path.to_string_lossy().ends_with("-dec.wav"));
        let heard = std::fs::read(heard.expect("baresip wrote what it heard")).expect("a file");
        Clip::decode(&patched(heard)).expect("a WAV file").samples()
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        self.kill();
    }
}

fn config(address: SocketAddr, directory: &Path, source: &Path) -> String {
    format!(
        "sip_listen {address}\nnet_interface 127.0.0.1\naudio_player aubridge,heard\n\
         audio_source aufile,{}\naudio_alert aubridge,alert\nausrc_srate 8000\nauplay_srate 8000\n\
         snd_path {}\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\n\
         module aubridge.so\nmodule sndfile.so\nmodule srtp.so\nmodule_app account.so\nmodule_app menu.so\n",
        source.display(),
        directory.display()
    )
}

/// baresip patches the sizes of its file when a call ends in order; killed, it leaves zeros.
fn patched(mut wav: Vec<u8>) -> Vec<u8> {
    let length = wav.len() as u32;
    wav[4..8].copy_from_slice(&(length - 8).to_le_bytes());
    wav[40..44].copy_from_slice(&(length - 44).to_le_bytes());
    wav
}
