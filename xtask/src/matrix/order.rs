//! Which share of the rows, and in which order.

use std::str::FromStr;

use crate::random::Random;

/// `--shard I/N`: one of N parts that are the same on every machine.
///
/// A row's part depends on its name alone, so it stays there whatever else is filtered, added or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    /// 1 to `count`.
    pub index: u64,
    /// How many there are.
    pub count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some(Shard { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        numbers
            .filter(|shard| (1..=shard.count).contains(&shard.index))
            .ok_or_else(|| "not of the form I/N, with I from 1 to N, such as 2/3".into())
    }
}

impl Shard {
    /// Whether the row with this name is in this part.
    pub fn has(&self, name: &str) -> bool {
        Random(hash(name)).below(self.count) + 1 == self.index
    }
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::rows::Matrix;
    use crate::workspace::Workspace;

    #[test]
    fn a_shard_is_one_of_several() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/3", "1/3/3", "-1/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_row_is_in_one_shard_and_the_shards_are_alike() {
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let matrix = Matrix::new(&workspace, false).unwrap();
        for count in [1, 2, 3, 8] {
            let shards: Vec<_> = (1..=count).map(|index| Shard { index, count }).collect();
            let mut sizes = vec![0; shards.len()];
            for plan in &matrix.plans {
                let name = plan.title();
                let within: Vec<_> = shards.iter().filter(|shard| shard.has(&name)).collect();
                assert_eq!(within.len(), 1, "{name}");
                sizes[within[0].index as usize - 1] += 1;
            }
            let fair = matrix.plans.len() / shards.len();
            assert!(sizes.iter().all(|size| size * 4 > fair * 3 && size * 3 < fair * 4), "{sizes:?}");
        }
    }
}
