//! The emulator's debugger, as far as a run needs it: a dozen lines of GDB's remote protocol over a socket pair.
//!
//! It does what a guest cannot do to itself: it puts a CPU somewhere else between two instructions, and writes over memory
//! that the guest itself may not write. The machine stands still meanwhile; stopping it and letting it go on is the
//! monitor's part.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Bytes that an answer has at most: the description of a CPU is the longest.
const ANSWER_BYTES: usize = 1 << 16;

/// Bytes of memory in one command: the emulator takes 4 KiB of text.
const PIECE: usize = 1024;

/// Our end.
pub struct Debugger {
    socket: UnixStream,
    described: bool,
}

impl Debugger {
    /// Takes our end of the socket.
    pub fn new(socket: UnixStream) -> Result<Self> {
        socket.set_read_timeout(Some(ANSWER_LIMIT)).context("the debugger's socket")?;
        Ok(Debugger { socket, described: false })
    }

    /// Writes a register of 64 bits of a CPU. The bytes are the machine's: 0 is the same in either order.
    pub fn write_register(&mut self, cpu: u32, register: u32, bytes: [u8; 8]) -> Result<()> {
        if !self.described {
            // Only to somebody who has read what registers there are does the emulator let one of them be written.
            self.ask("qSupported:xmlRegisters=i386")?;
            self.ask("qXfer:features:read:target.xml:0,1000")?;
            self.described = true;
        }
        self.ok(&format!("Hg{:x}", cpu + 1))?;
        self.ok(&format!("P{register:x}={}", digits(&bytes)))
    }

    /// Writes over physical memory, whatever the page tables say about it.
    pub fn write_memory(&mut self, physical: u64, bytes: &[u8]) -> Result<()> {
        self.ok("Qqemu.PhyMemMode:1")?;
        for (number, piece) in bytes.chunks(PIECE).enumerate() {
            let at = physical.wrapping_add((number * PIECE) as u64);
            self.ok(&format!("M{at:x},{:x}:{}", piece.len(), digits(piece)))?;
        }
        self.ok("Qqemu.PhyMemMode:0")
    }

    fn ok(&mut self, command: &str) -> Result<()> {
        let answer = self.ask(command)?;
        if answer != b"OK" {
            bail!("the debugger answers `{}` to `{command}`", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    fn ask(&mut self, command: &str) -> Result<Vec<u8>> {
        self.socket.write_all(&packet(command.as_bytes())).context("the debugger does not listen")?;
        loop {
            let answer = self.answer()?;
            self.socket.write_all(b"+").context("the debugger does not listen")?;
            // That the machine has stopped is said to nobody in particular.
            if !matches!(answer.first(), Some(b'T' | b'S')) {
                return Ok(answer);
            }
        }
    }

    /// One packet, whatever comes before it.
    fn answer(&mut self) -> Result<Vec<u8>> {
        while self.byte()? != b'$' {}
        let mut answer = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => answer.push(byte),
            }
            if answer.len() > ANSWER_BYTES {
                bail!("the debugger does not come to an end");
            }
        }
        let sum = [self.byte()?, self.byte()?];
        let said = std::str::from_utf8(&sum).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if said != Some(checksum(&answer)) {
            bail!("a wrong checksum from the debugger");
        }
        Ok(answer)
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).context("no answer from the debugger")?;
        Ok(byte[0])
    }
}

/// Bytes as the protocol has them.
fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn packet(bytes: &[u8]) -> Vec<u8> {
    [b"$", bytes, format!("#{:02x}", checksum(bytes)).as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives these answers, each behind what is nobody's, and returns what was said, and the socket: what is
    /// acknowledged last must not meet a closed one.
    fn answers(mut theirs: UnixStream, answers: &[&str]) -> (String, UnixStream) {
        let mut heard = String::new();
        for answer in answers {
            let mut byte = [0];
            loop {
                theirs.read_exact(&mut byte).unwrap();
                heard.push(char::from(byte[0]));
                if byte[0] == b'#' {
                    break;
                }
            }
            let reply = [b"+".to_vec(), packet(b"T02thread:01;"), packet(answer.as_bytes())].concat();
            theirs.write_all(&reply).unwrap();
        }
        (heard, theirs)
    }

    #[test]
    fn memory_is_written_in_pieces_and_by_physical_addresses() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let far = std::thread::spawn(move || answers(theirs, &["OK"; 4]));
        Debugger::new(ours).unwrap().write_memory(0x1000, &[0xa5; PIECE + 2]).unwrap();
        let (heard, _theirs) = far.join().unwrap();
        assert!(heard.contains(&format!("$M1000,400:{}#", "a5".repeat(PIECE))), "{heard}");
        assert!(heard.contains("$M1400,2:a5a5#"), "{heard}");
        let place = |what: &str| heard.find(what).unwrap();
        assert!(place("PhyMemMode:1") < place("$M1000") && place("$M1400") < place("PhyMemMode:0"));
    }

    #[test]
    fn a_register_is_written_and_what_is_in_between_is_passed_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let far = std::thread::spawn(move || answers(theirs, &["", "l<target/>", "OK", "OK"]));
        Debugger::new(ours).unwrap().write_register(2, 16, 0x10_u64.to_le_bytes()).unwrap();
        let (heard, _theirs) = far.join().unwrap();
        assert!(heard.contains("$Hg3#") && heard.contains("$P10=1000000000000000#"), "{heard}");
    }

    #[test]
    fn an_objection_is_an_error() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for answer in ["", "l", "E22"] {
            theirs.write_all(&packet(answer.as_bytes())).unwrap();
        }
        let error = Debugger::new(ours).unwrap().write_register(7, 1, [0; 8]).unwrap_err();
        assert_eq!(error.to_string(), "the debugger answers `E22` to `Hg8`");
    }
}
