//! What offhook may be built from: deny.toml says it, cargo-deny and these checks read it.

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::workspace::{self, Locked, Package, WorkspaceError};

/// The parts of deny.toml that hold without cargo-deny.
#[derive(Debug, Deserialize)]
pub struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    registries: Vec<String>,
}

impl Policy {
    /// Reads deny.toml of `root`.
    pub fn read(root: &Path) -> Result<Self, WorkspaceError> {
        workspace::read_toml(&root.join("deny.toml"))
    }

    pub fn allowed_licences(&self) -> impl Iterator<Item = &str> {
        self.licenses.allow.iter().map(String::as_str)
    }

    pub fn bans(&self, name: &str) -> bool {
        self.bans.deny.iter().any(|ban| ban.name == name)
    }

    /// Packages whose licence the policy does not accept, or that state none.
    pub fn check_licences(&self, packages: &[Package]) -> Vec<String> {
        packages.iter().filter_map(|package| self.licence_fault(package)).collect()
    }

    /// Pinned packages that are banned, or come from elsewhere than the accepted registries.
    pub fn check_lock(&self, locked: &[Locked]) -> Vec<String> {
        let mut findings = Vec::new();
        for package in locked {
            let name = &package.name;
            if let Some(ban) = self.bans.deny.iter().find(|ban| &ban.name == name) {
                findings.push(format!("`{name}` is in Cargo.lock ({}): `cargo tree -i {name}` shows who brings it, choose its other feature", ban.reason));
            }
            if let Some(source) = package.source.as_ref().filter(|source| !self.knows(source)) {
                findings
                    .push(format!("`{name}` comes from {source}: depend on a released version"));
            }
        }
        findings
    }

    fn licence_fault(&self, package: &Package) -> Option<String> {
        let Package { name, version, license, .. } = package;
        let fault = match license.as_deref().map(Expression::parse) {
            None => "states no licence".to_owned(),
            Some(Err(fault)) => format!("states a licence that cannot be read: {fault}"),
            Some(Ok(expression)) if expression.accepted(&self.licenses.allow) => return None,
            Some(Ok(_)) => format!("is under `{}`", license.as_deref().unwrap_or_default()),
        };
        Some(format!(
            "{name} {version} {fault}. Replace it, or run it as a process of its own; deny.toml has the accepted licences"
        ))
    }

    fn knows(&self, source: &str) -> bool {
        self.sources
            .registries
            .iter()
            .any(|registry| source.strip_prefix("registry+") == Some(registry))
    }
}

/// An SPDX licence expression; `/` is the older way to write OR.
#[derive(Debug, PartialEq, Eq)]
pub enum Expression {
    /// One licence, with its exception where it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{expression}` is no SPDX expression: {expected} is expected before {found}")]
pub struct ExpressionError {
    expression: String,
    expected: &'static str,
    found: String,
}

impl Expression {
    /// AND binds tighter than OR.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut parser = Parser { text, tokens: spaced.split_whitespace().peekable() };
        let expression = parser.alternatives()?;
        match parser.tokens.peek() {
            None => Ok(expression),
            Some(_) => Err(parser.fault("OR, AND or the end")),
        }
    }

    /// Whether what is allowed lets us use it: one side of an OR, all sides of an AND.
    pub fn accepted(&self, allow: &[String]) -> bool {
        match self {
            Self::Licence(name) => allow.contains(name),
            Self::And(all) => all.iter().all(|each| each.accepted(allow)),
            Self::Or(any) => any.iter().any(|each| each.accepted(allow)),
        }
    }
}

struct Parser<'a, Tokens: Iterator<Item = &'a str>> {
    text: &'a str,
    tokens: std::iter::Peekable<Tokens>,
}

impl<'a, Tokens: Iterator<Item = &'a str>> Parser<'a, Tokens> {
    fn alternatives(&mut self) -> Result<Expression, ExpressionError> {
        let mut any = vec![self.conjunction()?];
        while self.tokens.next_if_eq(&"OR").is_some() {
            any.push(self.conjunction()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Expression::Or(any) })
    }

    fn conjunction(&mut self) -> Result<Expression, ExpressionError> {
        let mut all = vec![self.term()?];
        while self.tokens.next_if_eq(&"AND").is_some() {
            all.push(self.term()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn term(&mut self) -> Result<Expression, ExpressionError> {
        if self.tokens.next_if_eq(&"(").is_some() {
            let inner = self.alternatives()?;
            return match self.tokens.next_if_eq(&")") {
                Some(_) => Ok(inner),
                None => Err(self.fault("a closing bracket")),
            };
        }
        let licence = self.name()?;
        if self.tokens.next_if_eq(&"WITH").is_some() {
            return Ok(Expression::Licence(format!("{licence} WITH {}", self.name()?)));
        }
        Ok(Expression::Licence(licence.to_owned()))
    }

    fn name(&mut self) -> Result<&'a str, ExpressionError> {
        match self.tokens.next_if(|token| !["(", ")", "OR", "AND", "WITH"].contains(token)) {
            Some(name) => Ok(name),
            None => Err(self.fault("a licence")),
        }
    }

    fn fault(&mut self, expected: &'static str) -> ExpressionError {
        let found = self.tokens.peek().map_or("the end".to_owned(), |token| format!("`{token}`"));
        ExpressionError { expression: self.text.to_owned(), expected, found }
    }
}
