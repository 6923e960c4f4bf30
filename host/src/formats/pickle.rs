//! A reader of pickles that builds data and runs nothing. Names of Python objects go through the list in [`super::globals`].

use std::collections::HashMap;

use super::globals;
use super::values::{Id, Node, Pickle, PickleSpan};

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes end before the pickle does.
    Cut,
    Bad(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Stop::Bad(why)
    }
}

/// Reads the pickle that begins at byte `at`. At most `operations` are carried out, which bounds time and memory.
pub(super) fn read(bytes: &[u8], at: usize, operations: usize) -> Result<Pickle<'_>, Stop> {
    let pickle = Pickle::new(bytes, operations);
    let mut machine = Machine { pickle, at, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    for _ in 0..operations {
        let start = machine.at;
        match machine.step() {
            Ok(false) => {}
            Ok(true) => {
                machine.pickle.end = machine.at;
                return Ok(machine.pickle);
            }
            Err(Stop::Bad(why)) => return Err(Stop::Bad(format!("byte {start} of the pickle: {why}"))),
            Err(Stop::Cut) => return Err(Stop::Cut),
        }
    }
    Err(Stop::Bad(format!("the pickle takes more than {operations} operations")))
}

struct Machine<'a> {
    pickle: Pickle<'a>,
    at: usize,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<PickleSpan, Stop> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.pickle.bytes().len()).ok_or(Stop::Cut)?;
        let bad = || Stop::Bad("it is beyond 4 GiB".into());
        let span = PickleSpan { from: u32::try_from(self.at).map_err(|_| bad())?, length: u32::try_from(count).map_err(|_| bad())? };
        u32::try_from(end).map_err(|_| bad())?;
        self.at = end;
        Ok(span)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, Stop> {
        let span = self.take(bytes)?;
        Ok(self.pickle.slice(span).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn counted(&mut self, bytes: usize) -> Result<PickleSpan, Stop> {
        let count = self.number(bytes)?;
        self.take(usize::try_from(count).map_err(|_| Stop::Cut)?)
    }

    /// A line, without its end.
    fn line(&mut self) -> Result<PickleSpan, Stop> {
        let rest = &self.pickle.bytes()[self.at.min(self.pickle.bytes().len())..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(Stop::Cut)?;
        let span = self.take(length)?;
        self.at += 1;
        Ok(span)
    }

    fn push(&mut self, node: Node) {
        let id = self.pickle.push(node);
        self.stack.push(id);
    }

    fn text(&mut self, span: PickleSpan) -> Result<(), Stop> {
        std::str::from_utf8(self.pickle.slice(span)).map_err(|_| "a text is not UTF-8".to_owned())?;
        self.push(Node::Text(span));
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, Stop> {
        // What lies below a mark belongs to whoever set it.
        match self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            true => Ok(self.stack.pop().unwrap_or_default()),
            false => Err("the stack is empty".to_owned().into()),
        }
    }

    fn top(&self) -> Result<Id, Stop> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".to_owned().into())
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, Stop> {
        let mark = self.marks.pop().ok_or_else(|| "there is no mark".to_owned())?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, count: usize) -> Result<(), Stop> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), Stop> {
        let top = self.top()?;
        match self.pickle.node_mut(top) {
            Node::List(list) => list.extend(items),
            Node::Opaque => {}
            _ => return Err("items are added to what is no list".to_owned().into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Stop> {
        let top = self.top()?;
        match self.pickle.node_mut(top) {
            Node::Dict(dict) if items.len().is_multiple_of(2) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Node::Opaque => {}
            _ => return Err("entries are set in what is no dict, or a key has no value".to_owned().into()),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), Stop> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Stop> {
        let id = self.memo.get(&key).copied().ok_or_else(|| format!("memo {key} was never filled"))?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, module: PickleSpan, name: PickleSpan) -> Result<(), Stop> {
        let part = |span| String::from_utf8_lossy(self.pickle.slice(span)).into_owned();
        let global = globals::find(&part(module), &part(name))?;
        self.push(Node::Global(global));
        Ok(())
    }

    /// One operation; true at the end.
    fn step(&mut self) -> Result<bool, Stop> {
        let op = self.number(1)? as u8;
        match op {
            0x80 => {
                let protocol = self.number(1)?;
                if protocol > 5 {
                    return Err(format!("protocol {protocol} is not known").into());
                }
            }
            0x95 => drop(self.take(8)?),
            b'.' => {
                self.pickle.root = self.pop()?;
                return Ok(true);
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'I' => self.int_line()?,
            b'J' => {
                let number = self.number(4)? as u32;
                self.push(Node::Int(i64::from(number.cast_signed())));
            }
            b'K' | b'M' => {
                let number = self.number(if op == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(number as i64));
            }
            0x8a | 0x8b => {
                let span = self.counted(if op == 0x8a { 1 } else { 4 })?;
                self.long(span);
            }
            b'G' => {
                let span = self.take(8)?;
                let bits = self.pickle.slice(span).iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                self.push(Node::Float(f64::from_bits(bits)));
            }
            b'X' | 0x8c | 0x8d => {
                let span = self.counted(match op {
                    b'X' => 4,
                    0x8c => 1,
                    _ => 8,
                })?;
                self.text(span)?;
            }
            b'T' | b'B' | b'U' | b'C' | 0x8e | 0x96 => {
                let span = self.counted(match op {
                    b'T' | b'B' => 4,
                    b'U' | b'C' => 1,
                    _ => 8,
                })?;
                self.push(Node::Bytes(span));
            }
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Opaque),
            0x85..=0x87 => self.tuple(usize::from(op - 0x84))?,
            b't' | b'l' | b'd' | 0x91 => {
                let items = self.since_mark()?;
                match op {
                    b't' => self.push(Node::Tuple(items)),
                    b'l' => self.push(Node::List(items)),
                    b'd' => {
                        self.push(Node::Dict(Vec::new()));
                        self.set(&items)?;
                    }
                    _ => self.push(Node::Opaque),
                }
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            b'q' | b'r' => {
                let key = self.number(if op == b'q' { 1 } else { 4 })? as u32;
                self.remember(key)?;
            }
            0x94 => {
                let key = self.memo.len() as u32;
                self.remember(key)?;
            }
            b'h' | b'j' => {
                let key = self.number(if op == b'h' { 1 } else { 4 })? as u32;
                self.recall(key)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.pickle.node(module), self.pickle.node(name)) {
                    (Node::Text(module), Node::Text(name)) => self.global(*module, *name)?,
                    _ => return Err("the name of a Python object is no text".to_owned().into()),
                }
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let value = globals::call(&mut self.pickle, callee, arguments)?;
                self.stack.push(value);
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                globals::build(&mut self.pickle, top, state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = globals::persistent(&mut self.pickle, id)?;
                self.stack.push(storage);
            }
            _ => return Err(format!("operation 0x{op:02x} is not one that PyTorch writes").into()),
        }
        Ok(false)
    }

    /// Protocol 0's integers, and Python 2's truth values.
    fn int_line(&mut self) -> Result<(), Stop> {
        let span = self.line()?;
        let node = match self.pickle.slice(span) {
            b"00" => Node::Bool(false),
            b"01" => Node::Bool(true),
            digits => {
                let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                Node::Int(number.ok_or_else(|| "an integer is not one".to_owned())?)
            }
        };
        self.push(node);
        Ok(())
    }

    fn long(&mut self, span: PickleSpan) {
        let bytes = self.pickle.slice(span);
        let node = if bytes.len() <= 8 {
            let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(wide))
        } else {
            Node::Long(span)
        };
        self.push(node);
    }
}
