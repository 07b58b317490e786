//! The ways in which programs write one character, as a trie of bytes.
//!
//! A secret is a row of characters, each of which is spelled by itself: so a value is recognised whatever
//! of it a URL, JSON, a shell or HTML had to escape, and however often one did it over the other.

use std::collections::BTreeMap;

/// A node of the tries.
pub(super) type NodeId = u32;

#[derive(Debug, Default)]
struct Node {
    next: Vec<(u8, NodeId)>,
    /// Whether the character may be over here.
    end: bool,
}

/// The tries of all characters that stand in some secret.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    nodes: Vec<Node>,
    known: BTreeMap<Unit, NodeId>,
}

/// A part of a secret that is spelled by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// A character of the text.
    Char(char),
    /// A digit of its base64, of either alphabet.
    Base64(u8, At),
    /// A byte as two hexadecimal digits.
    Hex(u8, At),
}

/// Where a unit stands in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// At the beginning.
    First,
    /// Behind another, or behind the end of a line: encoders write lines of any length.
    Later,
}

/// One place of a spelling: the byte, and what may stand for it.
type Places = Vec<[u8; 2]>;

impl Spellings {
    /// Returns where the trie of a unit begins.
    pub(super) fn root(&mut self, unit: Unit) -> NodeId {
        if let Some(root) = self.known.get(&unit) {
            return *root;
        }
        let root = self.node();
        self.known.insert(unit, root);
        match unit {
            Unit::Char(c) => self.learn_char(root, c),
            Unit::Base64(digit, at) => self.learn(root, &base64_digit(digit), at),
            Unit::Hex(byte, at) => self.learn(root, &[hex(&format!("{byte:02x}"))], at),
        }
        root
    }

    /// Returns whether the unit may be over at this node.
    pub(super) fn is_end(&self, node: NodeId) -> bool {
        self.nodes[node as usize].end
    }

    /// Returns whether it may go on there.
    pub(super) fn goes_on(&self, node: NodeId) -> bool {
        !self.nodes[node as usize].next.is_empty()
    }

    /// Returns where a byte leads.
    pub(super) fn step(&self, node: NodeId, byte: u8) -> Option<NodeId> {
        let next = &self.nodes[node as usize].next;
        next.iter().find(|(one, _)| *one == byte).map(|(_, to)| *to)
    }

    /// Returns the bytes that lead on, and where.
    pub(super) fn steps(&self, node: NodeId) -> &[(u8, NodeId)] {
        &self.nodes[node as usize].next
    }

    fn node(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        NodeId::try_from(self.nodes.len() - 1).unwrap_or(NodeId::MAX)
    }

    fn add(&mut self, from: NodeId, places: &[[u8; 2]]) {
        let mut at = from;
        for [byte, other] in places {
            let to = self.step(at, *byte).unwrap_or_else(|| self.node());
            for byte in [byte, other] {
                if self.step(at, *byte).is_none() {
                    self.nodes[at as usize].next.push((*byte, to));
                }
            }
            at = to;
        }
        self.nodes[at as usize].end = true;
    }

    fn learn_char(&mut self, root: NodeId, c: char) {
        for spelling in outright(c) {
            self.add(root, &spelling);
        }
        // Any number of backslashes: one escape over the other doubles them.
        let escaped = match self.step(root, b'\\') {
            Some(node) => node,
            None => {
                let node = self.node();
                self.nodes[root as usize].next.push((b'\\', node));
                node
            }
        };
        for spelling in behind_a_backslash(c) {
            self.add(escaped, &spelling);
        }
        if self.step(escaped, b'\\').is_none() {
            self.nodes[escaped as usize].next.push((b'\\', escaped));
        }
    }

    fn learn(&mut self, root: NodeId, spellings: &[Places], at: At) {
        let ends: &[&str] = match at {
            At::First => &[""],
            At::Later => &["", "\n", "\r\n", "\\n"],
        };
        for (end, spelling) in
            ends.iter().flat_map(|end| spellings.iter().map(move |one| (end, one)))
        {
            self.add(root, &[plain(end.as_bytes()), spelling.clone()].concat());
        }
    }
}

fn base64_digit(digit: u8) -> Vec<Places> {
    let other = match digit {
        b'+' => b'-',
        b'/' => b'_',
        _ => return vec![plain(&[digit])],
    };
    vec![plain(&[digit]), plain(&[other]), percent(&[digit], "%")]
}

fn plain(bytes: &[u8]) -> Places {
    bytes.iter().map(|byte| [*byte; 2]).collect()
}

/// Returns digits of which the letters are of either case.
fn hex(digits: &str) -> Places {
    digits.bytes().map(|digit| [digit.to_ascii_lowercase(), digit.to_ascii_uppercase()]).collect()
}

fn percent(bytes: &[u8], sign: &str) -> Places {
    let one = |byte: &u8| [plain(sign.as_bytes()), hex(&format!("{byte:02x}"))].concat();
    bytes.iter().flat_map(one).collect()
}

/// Returns the spellings that need no backslash.
fn outright(c: char) -> Vec<Places> {
    let mut utf8 = [0; 4];
    let utf8 = c.encode_utf8(&mut utf8).as_bytes();
    let code = u32::from(c);
    let mut all = vec![plain(utf8), percent(utf8, "%"), percent(utf8, "%25")];
    // Letters and digits are written as numbers by nobody.
    if !c.is_ascii_alphanumeric() {
        for zeros in ["", "0", "00"] {
            all.push(plain(format!("&#{zeros}{code};").as_bytes()));
            let digits = [plain(b"&#"), hex("x"), hex(&format!("{zeros}{code:x}")), plain(b";")];
            all.push(digits.concat());
        }
    }
    let more: &[&str] = match c {
        ' ' => &["+", "&nbsp;"],
        '\n' => &["\r\n", "%0d%0a", "%0D%0A"],
        '&' => &["&amp;"],
        '<' => &["&lt;"],
        '>' => &["&gt;"],
        '"' => &["\"\"", "&quot;"],
        // As a quoted word of a shell has it, YAML and SQL, and HTML.
        '\'' => &["'\\''", "'\"'\"'", "''", "&apos;"],
        _ => &[],
    };
    all.extend(more.iter().map(|one| plain(one.as_bytes())));
    all
}

/// Returns the spellings that stand behind backslashes; for a backslash they are the backslashes.
fn behind_a_backslash(c: char) -> Vec<Places> {
    let mut utf8 = [0; 4];
    let utf8 = c.encode_utf8(&mut utf8).as_bytes();
    let code = u32::from(c);
    let mut all = vec![
        plain(utf8),
        [plain(b"u{"), hex(&format!("{code:x}")), plain(b"}")].concat(),
        [plain(b"U"), hex(&format!("{code:08x}"))].concat(),
    ];
    if c == '\\' {
        all[0] = Vec::new();
    }
    let mut utf16 = [0; 2];
    let utf16 = c.encode_utf16(&mut utf16);
    for sign in ["\\", "\\\\"] {
        let parts: Vec<Places> =
            utf16.iter().map(|unit| [plain(b"u"), hex(&format!("{unit:04x}"))].concat()).collect();
        all.push(parts.join(&plain(sign.as_bytes())[..]));
        let bytes: Vec<Places> =
            utf8.iter().map(|byte| [plain(b"x"), hex(&format!("{byte:02x}"))].concat()).collect();
        all.push(bytes.join(&plain(sign.as_bytes())[..]));
        let octal: Vec<Places> =
            utf8.iter().map(|byte| plain(format!("{byte:03o}").as_bytes())).collect();
        all.push(octal.join(&plain(sign.as_bytes())[..]));
    }
    if (0x80..0x100).contains(&code) {
        all.push([plain(b"x"), hex(&format!("{code:02x}"))].concat());
    }
    let letter = match c {
        '\n' => "n",
        '\t' => "t",
        '\r' => "r",
        '\u{8}' => "b",
        '\u{c}' => "f",
        '\u{b}' => "v",
        '\u{7}' => "a",
        '\u{1b}' => "e",
        _ => return all,
    };
    all.push(plain(letter.as_bytes()));
    all
}
