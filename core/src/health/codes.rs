//! Matcher syntax: `200`, `200,204`, `200-299`, and mixtures (spec: dataplane §5.4).

/// Codes that are successes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Codes(Vec<(u16, u16)>);

impl Default for Codes {
    fn default() -> Self {
        Codes(vec![(200, 200)])
    }
}

impl Codes {
    /// Reads a list; `None` where it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let range = |item: &str| {
            let (low, high) = item.split_once('-').unwrap_or((item, item));
            let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse().ok()).flatten();
            let (low, high) = (number(low)?, number(high)?);
            (low <= high).then_some((low, high))
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Codes)
    }

    pub(crate) fn contain(&self, code: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::Codes;

    #[test]
    fn lists_and_ranges() {
        let codes = Codes::parse("200,300-302").unwrap();
        assert!(codes.contain(200) && codes.contain(301) && !codes.contain(299) && !codes.contain(303));
        for bad in ["", "abc", "200,", "300-200", "200 ", "+200"] {
            assert_eq!(Codes::parse(bad), None, "{bad}");
        }
    }
}
