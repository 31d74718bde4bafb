//! Small bar charts, drawn as SVG. Colors come from the stylesheet: the content security policy allows no inline
//! styles.

use askama::{Template, filters::HtmlSafe};

use super::parts::{Tone, count};

const HEIGHT: u32 = 64;
const WIDTH: u32 = 360;

/// One bar, from the left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) value: i64,
    /// What the bar means, as a tooltip.
    pub(super) label: String,
}

/// Bars of one meaning, scaled to the highest.
#[derive(Clone, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    tone: &'static str,
    title: String,
    from: &'static str,
    to: &'static str,
    highest: String,
    bars: Vec<Drawn>,
}

impl HtmlSafe for Chart {}

#[derive(Clone)]
struct Drawn {
    x: String,
    y: u32,
    width: String,
    height: u32,
    label: String,
}

impl Chart {
    /// `title` describes the whole chart in words; `from` and `to` are the ends of its axis.
    pub(super) fn new(tone: Tone, title: String, [from, to]: [&'static str; 2], bars: &[Bar]) -> Self {
        let highest = bars.iter().map(|bar| bar.value).max().unwrap_or_default();
        Self { tone: tone.into(), title, from, to, highest: count(highest), bars: draw(bars, highest.max(1)) }
    }
}

/// Only bars with a value are drawn, and each of those is at least a pixel high.
fn draw(bars: &[Bar], highest: i64) -> Vec<Drawn> {
    let slots = u32::try_from(bars.len().max(1)).unwrap_or(u32::MAX);
    let slot = f64::from(WIDTH) / f64::from(slots);
    let drawn = |(index, bar): (u32, &Bar)| {
        let share = u64::try_from(bar.value).ok()? * u64::from(HEIGHT);
        let height = u32::try_from(share.div_ceil(highest.unsigned_abs())).ok()?.min(HEIGHT);
        (height > 0).then(|| Drawn {
            x: format!("{:.2}", f64::from(index) * slot),
            y: HEIGHT - height,
            width: format!("{:.2}", (slot - 1.0).max(1.0)),
            height,
            label: format!("{}: {}", bar.label, count(bar.value)),
        })
    };
    (0..slots).zip(bars).filter_map(drawn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[i64]) -> Vec<Bar> {
        values.iter().map(|value| Bar { value: *value, label: "minute".to_owned() }).collect()
    }

    #[test]
    fn bars_are_scaled_to_the_highest() {
        let drawn = draw(&bars(&[0, 1, 1_000_000, 500_000]), 1_000_000);
        let heights: Vec<u32> = drawn.iter().map(|bar| bar.height).collect();
        assert_eq!(heights, [1, 64, 32]);
        assert_eq!(drawn.first().map(|bar| bar.x.as_str()), Some("90.00"));
        assert!(drawn.iter().all(|bar| bar.y + bar.height == HEIGHT));
    }

    #[test]
    fn empty_chart_has_no_bars() {
        let chart = Chart::new(Tone::Failed, "none".to_owned(), ["a", "b"], &bars(&[0, 0])).to_string();
        assert!(chart.contains("<svg") && !chart.contains("<rect"), "{chart}");
        assert!(!chart.contains("style"), "{chart}");
    }
}
