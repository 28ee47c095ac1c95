//! A sheet on which shapes are put by class; colours and fonts stand in one place, for light and for dark.

use svg::node::Text;
use svg::node::element::Element;

/// Width of every picture, in its own units; it is shown as wide as its place.
pub(super) const WIDTH: f64 = 960.0;
/// Space to the right and left of everything.
pub(super) const MARGIN: f64 = 24.0;

/// Colours and fonts. Text has a halo of the paper's colour, so that it can be read over lines.
const STYLE: &str = "
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:17px;font-weight:600}.strong{font-weight:600}.small{font-size:11.5px}.soft{fill:#59636e}
.halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}
.paper{fill:#fff}.rule{stroke:#e4e8ec}.frame{stroke:#8c959f}.lane{fill:#f3f5f7}
.now{fill:#bc4c00}.now-line{stroke:#bc4c00}.then{fill:#0969da}.then-line{stroke:#0969da}
.plain{fill:#afb8c1}.plain-line{stroke:#8c959f}.faint{fill:#b6d4f5}
.bad{fill:#cf222e}.bad-line{stroke:#cf222e}.limit{fill:#1a7f37}.limit-line{stroke:#1a7f37}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.thin{fill:none;stroke-width:1}
.thick{stroke-width:5;stroke-linecap:butt}.band{fill-opacity:.14}.dash{stroke-dasharray:5 4}.dot{stroke:#fff;stroke-width:2}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.soft{fill:#9198a1}.halo{stroke:#0d1117}.dot{stroke:#0d1117}
.paper{fill:#0d1117}.rule{stroke:#252b33}.frame{stroke:#6e7681}.lane{fill:#161b22}
.now{fill:#f0883e}.now-line{stroke:#f0883e}.then{fill:#58a6ff}.then-line{stroke:#58a6ff}
.plain{fill:#586069}.plain-line{stroke:#768390}.faint{fill:#1f4a7a}
.bad{fill:#ff7b72}.bad-line{stroke:#ff7b72}.limit{fill:#3fb950}.limit-line{stroke:#3fb950}
.band{fill-opacity:.2}
}
";

/// Where a text hangs on its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hang {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// A sheet.
pub(super) struct Canvas {
    height: f64,
    shapes: Vec<Element>,
}

/// What others wrote, as a file may hold it: no control characters, nothing that turns the direction of text, and not
/// longer than a line.
pub(super) fn clean(text: &str) -> String {
    let forbidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    const LONGEST: usize = 200;
    let mut clean: String = text.chars().take(LONGEST).map(|c| if forbidden(c) { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        clean.push('…');
    }
    clean
}

/// A coordinate with one digit: a tenth of a pixel is enough, and keeps files small and the same everywhere.
pub(super) fn at(x: f64) -> String {
    let x = (x * 10.0).round() / 10.0;
    // Neither "-0" nor "NaN" may stand in a path.
    if x == 0.0 || !x.is_finite() { "0".into() } else { format!("{x}") }
}

impl Canvas {
    pub(super) fn new(height: f64) -> Self {
        Canvas { height, shapes: Vec::new() }
    }

    fn put(&mut self, name: &str, class: &str, attributes: &[(&str, f64)]) {
        let mut element = Element::new(name);
        element.get_attributes_mut().insert("class".into(), class.into());
        for (key, value) in attributes {
            element.get_attributes_mut().insert((*key).into(), at(*value).into());
        }
        self.shapes.push(element);
    }

    /// A text whose baseline begins, is centred or ends at a place.
    pub(super) fn text(&mut self, (x, y): (f64, f64), hang: Hang, class: &str, text: &str) {
        self.put("text", class, &[("x", x), ("y", y)]);
        if let Some(last) = self.shapes.last_mut() {
            match hang {
                Hang::Start => {}
                Hang::Middle => drop(last.get_attributes_mut().insert("text-anchor".into(), "middle".into())),
                Hang::End => drop(last.get_attributes_mut().insert("text-anchor".into(), "end".into())),
            }
            last.get_children_mut().push(Box::new(Text::new(clean(text))));
        }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.put("line", class, &[("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)]);
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.put("rect", class, &[("x", x), ("y", y), ("width", width.max(0.0)), ("height", height.max(0.0))]);
    }

    pub(super) fn circle(&mut self, class: &str, (x, y): (f64, f64), r: f64) {
        self.put("circle", class, &[("cx", x), ("cy", y), ("r", r)]);
    }

    /// A path, as SVG writes it.
    pub(super) fn path(&mut self, class: &str, d: String) {
        self.put("path", class, &[]);
        if let Some(last) = self.shapes.last_mut() {
            last.get_attributes_mut().insert("d".into(), d.into());
        }
    }

    /// A line through points.
    pub(super) fn through(&mut self, class: &str, points: &[(f64, f64)]) {
        self.path(class, d(points));
    }

    /// What is about to be put hangs on a group with a tooltip.
    pub(super) fn tip(&mut self, text: &str) {
        if let Some(last) = self.shapes.last_mut() {
            let mut title = Element::new("title");
            title.get_children_mut().push(Box::new(Text::new(clean(text))));
            last.get_children_mut().push(Box::new(title));
        }
    }

    /// Sheets below each other on one.
    pub(super) fn stacked(sheets: Vec<Canvas>) -> Self {
        let mut all = Canvas::new(0.0);
        for sheet in sheets {
            let mut group = Element::new("g");
            group.get_attributes_mut().insert("transform".into(), format!("translate(0 {})", at(all.height)).into());
            for shape in sheet.shapes {
                group.get_children_mut().push(Box::new(shape));
            }
            all.shapes.push(group);
            all.height += sheet.height;
        }
        all
    }

    /// The file. `title` and `says` are for whoever cannot see it.
    pub(super) fn finish(self, title: &str, says: &str) -> String {
        let mut root = Element::new("svg");
        let named = |name: &str, text: &str| {
            let mut element = Element::new(name);
            element.get_children_mut().push(Box::new(Text::new(clean(text))));
            element
        };
        let attributes = root.get_attributes_mut();
        for (key, value) in [
            ("xmlns", "http://www.w3.org/2000/svg".to_owned()),
            ("viewBox", format!("0 0 {WIDTH} {}", at(self.height))),
            ("width", "100%".to_owned()),
            ("role", "img".to_owned()),
            ("style", format!("max-width:{WIDTH}px")),
        ] {
            attributes.insert(key.into(), value.into());
        }
        let mut says_element = named("desc", "");
        says_element.get_children_mut().clear();
        says_element
            .get_children_mut()
            .push(Box::new(Text::new(says.lines().map(clean).collect::<Vec<_>>().join("\n"))));
        let mut style = Element::new("style");
        style.get_children_mut().push(Box::new(svg::node::Blob::new(STYLE.trim())));
        let mut paper = Element::new("rect");
        for (key, value) in [("class", "paper"), ("width", "100%"), ("height", "100%")] {
            paper.get_attributes_mut().insert(key.into(), value.into());
        }
        let all = [named("title", title), says_element, style, paper].into_iter().chain(self.shapes);
        for element in all {
            root.get_children_mut().push(Box::new(element));
        }
        format!("{root}\n")
    }
}

/// A path through points.
pub(super) fn d(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        d += if i == 0 { "M" } else { "L" };
        d += &at(*x);
        d.push(' ');
        d += &at(*y);
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_text_and_nothing_else() {
        let mut canvas = Canvas::new(10.0);
        canvas.text((0.0, 0.0), Hang::Start, "small", "<script>alert('\u{1b}[31m\u{0}\u{202e}\u{ffff}')</script>&\"");
        let file = canvas.finish("a</title><script>", "b\u{7}\n<script>");
        assert!(!file.contains("<script") && file.contains("&lt;script&gt;"), "{file}");
        assert!(file.chars().all(|c| c == '\n' || !c.is_control()), "{file}");
        assert!(!file.contains(['\u{202e}', '\u{ffff}']), "{file}");
    }

    #[test]
    fn a_text_without_end_is_cut() {
        assert_eq!(clean(&"x".repeat(1_000)).chars().count(), 201);
    }

    #[test]
    fn coordinates_are_short_and_never_nonsense() {
        for (x, text) in [(1.0, "1"), (1.25, "1.3"), (-0.01, "0"), (f64::NAN, "0"), (f64::INFINITY, "0")] {
            assert_eq!(at(x), text);
        }
    }
}
