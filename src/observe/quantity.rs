//! Kubernetes' quantities: `250m`, `137912n`, `45Ki`, `1.5`, `12e6`.
//!
//! Facts: `kubernetes/apimachinery:pkg/api/resource/quantity.go`. (k8s-metrics reads the suffixes that metrics-server
//! happens to write; allocatable values are written by people and cloud providers.)

/// A quantity in its base unit (cores, bytes), finite; `None` if it is none, negative, or more than a float holds.
pub fn quantity(text: &str) -> Option<f64> {
    // Divided, not multiplied by a fraction that no float holds exactly.
    const PARTS: [(&str, f64); 3] = [("n", 1e9), ("u", 1e6), ("m", 1e3)];
    const SUFFIXES: [(&str, f64); 12] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let find = |among: &[(&str, f64)]| among.iter().find_map(|(suffix, by)| Some((text.strip_suffix(suffix)?, *by)));
    let (number, times, parts) = match (find(&SUFFIXES), find(&PARTS)) {
        (Some((number, times)), _) => (number, times, 1.0),
        (None, Some((number, parts))) => (number, 1.0, parts),
        (None, None) => (text, 1.0, 1.0),
    };
    let plain = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    number.parse::<f64>().ok().filter(|_| plain).map(|n| n * times / parts).filter(|n| n.is_finite())
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
            ("1e999", None),
            ("1e300Ei", None),
            ("1 Gi", None),
        ] {
            assert_eq!(quantity(text), value, "{text}");
        }
    }
}
