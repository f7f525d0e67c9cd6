//! Which content codings a client takes: `Accept-Encoding` with its weights (RFC 9110 §12.5.3).
//!
//! ```text
//! "br;q=0.8, gzip, *;q=0" ──► AcceptEncoding ──(what there is, in our order)──► gzip
//! ```

use super::request::HeaderFields;
use crate::model::Coding;

/// In thousandths, as qvalues have no more than three digits. None: not named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptEncoding {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    /// `*`
    others: Option<u16>,
}

impl AcceptEncoding {
    /// Without the field a client would have to take anything; those that send none take nothing but the bare content.
    pub fn of(headers: &dyn HeaderFields) -> Self {
        let mut accepted = Self::default();
        headers.each("accept-encoding", &mut |value| value.split(|b| *b == b',').for_each(|item| accepted.take(item)));
        accepted
    }

    fn take(&mut self, item: &[u8]) {
        let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
        let slot = match coding {
            b"*" => &mut self.others,
            // RFC 9110 §8.4.1.3
            _ if is("gzip") || is("x-gzip") => &mut self.gzip,
            _ if is("br") => &mut self.brotli,
            _ if is("zstd") => &mut self.zstd,
            _ if is("identity") => &mut self.identity,
            _ => return,
        };
        *slot = Some(weight(parts));
    }

    /// The one that the client likes best; of those it likes alike the first of `there`. None: the bare content, because it takes
    /// nothing else or says that it likes that better.
    pub fn choose(&self, there: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        self.ranked(there).first().copied()
    }

    /// All that it takes and likes no less than the bare content, the best first.
    pub fn ranked(&self, there: impl IntoIterator<Item = Coding>) -> Vec<Coding> {
        let least = self.identity.unwrap_or(0).max(1);
        let mut ranked: Vec<Coding> = there.into_iter().filter(|coding| self.weight(*coding) >= least).collect();
        ranked.sort_by_key(|coding| std::cmp::Reverse(self.weight(*coding)));
        ranked
    }

    fn weight(&self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        };
        named.or(self.others).unwrap_or(0)
    }
}

/// 1 where there is none; a weight that is none is taken for a no: to compress what the client cannot read is worse than not to.
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> u16 {
    for parameter in parameters {
        if let [b'q' | b'Q', rest @ ..] = parameter
            && let Some(value) = rest.trim_ascii_start().strip_prefix(b"=")
        {
            return thousandths(value.trim_ascii_start()).unwrap_or(0);
        }
    }
    1000
}

fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole] => (whole, &b""[..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let mut sum = digit(whole)?;
    for at in 0..3 {
        sum = sum * 10 + digits.get(at).map_or(Some(0), digit)?;
    }
    (sum <= 1000).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(fields: &[&str]) -> Option<Coding> {
        let mut headers = http::HeaderMap::new();
        for field in fields {
            headers.append("accept-encoding", field.parse().unwrap());
        }
        AcceptEncoding::of(&headers).choose(Coding::BY_PREFERENCE)
    }

    #[test]
    fn the_clients_weights_count_before_our_order() {
        use Coding::{Brotli, Gzip, Zstd};
        for (field, expected) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("zstd;q=0.1, br;q=0.2, gzip;q=0.3", Some(Gzip)),
            ("zstd;q=0.5, gzip ; Q=0.500", Some(Zstd)),
            ("gzip;q=0", None),
            ("gzip;q=0.0, br;q=0.001", Some(Brotli)),
            ("gzip;q=0.000", None),
            ("*", Some(Zstd)),
            ("*;q=0", None),
            ("gzip, *;q=0", Some(Gzip)),
            ("zstd;q=0, *", Some(Brotli)),
            ("identity", None),
            ("identity, gzip", Some(Gzip)),
            ("identity, gzip;q=0.9", None),
            ("identity;q=0.5, gzip;q=0.9", Some(Gzip)),
            ("identity;q=0", None),
            ("identity;q=0, *", Some(Zstd)),
            ("deflate, compress", None),
            ("", None),
            (" , ,", None),
            ("gzip;q=1.001", None),
            ("gzip;q=2", None),
            ("gzip;q=", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=x", None),
            ("gzip;level=1;q=0", None),
            ("gzip;q", Some(Gzip)),
            ("gzipped", None),
        ] {
            assert_eq!(choose(&[field]), expected, "{field}");
        }
        let mut headers = http::HeaderMap::new();
        headers.insert("accept-encoding", "zstd;q=0.4, gzip, br;q=0.5, identity;q=0.5".parse().unwrap());
        assert_eq!(AcceptEncoding::of(&headers).ranked(Coding::BY_PREFERENCE), [Gzip, Brotli]);
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&["gzip;q=0", "br"]), Some(Brotli));
    }
}
