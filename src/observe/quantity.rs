//! Kubernetes' quantities: `250m`, `137912n`, `45Ki`, `1.5`, `12e6`.
//!
//! Facts: `kubernetes/apimachinery:pkg/api/resource/quantity.go`. (k8s-metrics reads the suffixes that metrics-server
//! happens to write; allocatable values are written by people and cloud providers.)

/// A quantity in its base unit (cores, bytes); `None` if it is none, or negative.
pub(super) fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor))).unwrap_or((text, 1.0));
    let plain = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    number.parse::<f64>().ok().filter(|n| plain && n.is_finite()).map(|n| n * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_their_base_unit() {
        for (text, value) in [
            ("250m", Some(0.25)),
            ("137912n", Some(0.000_137_912)),
            ("2", Some(2.0)),
            ("1.5", Some(1.5)),
            ("45Ki", Some(46_080.0)),
            ("1G", Some(1e9)),
            ("12e6", Some(12e6)),
            ("0", Some(0.0)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("1 Gi", None),
        ] {
            assert_eq!(quantity(text), value, "{text}");
        }
    }
}
