//! What a profile says: parts, operations, products; and what a product reaches on this machine.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use tch::{Device, Kind, Tensor};
use vlhub_torch_ext::TimeSpan;

/// Rows and columns of the matrices whose product tells what the device can do.
pub const SIDE: i64 = 1024;

/// A part of what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeShare {
    /// Its name.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How often it happened.
    pub calls: u64,
}

/// Products of matrices, convolutions and gradients of these, attention's not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProductWork {
    /// How long they took, in seconds.
    pub seconds: f64,
    /// Their operations, in 10⁹.
    pub gflop: f64,
}

impl ProductWork {
    /// Those of a profile. One within another is counted, and the other is not: under autocast a convolution asks for itself again, behind its casts.
    pub fn of(spans: &[TimeSpan]) -> Self {
        let products = outer_first(spans.iter().filter(|span| span.flops > 0));
        let holds_another = |at: usize| products.get(at + 1).is_some_and(|next| !ends_before(products[at], next));
        let counted: Vec<&TimeSpan> = (0..products.len()).filter(|at| !holds_another(*at)).map(|at| products[at]).collect();
        Self {
            seconds: counted.iter().map(|span| span.duration as f64).sum::<f64>() / 1e9,
            gflop: counted.iter().map(|span| span.flops as f64).sum::<f64>() / 1e9,
        }
    }
}

/// Spans by thread and beginning. What lies within another begins after it, or with it and ends before.
fn outer_first<'s>(spans: impl Iterator<Item = &'s TimeSpan>) -> Vec<&'s TimeSpan> {
    let mut sorted: Vec<&TimeSpan> = spans.collect();
    sorted.sort_by_key(|span| (span.thread, span.start, u64::MAX - span.duration));
    sorted
}

/// Whether a span is over when a later one begins, or belongs to another thread.
fn ends_before(span: &TimeSpan, later: &TimeSpan) -> bool {
    span.thread != later.thread || span.start + span.duration <= later.start
}

/// What is named `PREFIX…` (`vlhub_torch_ext::span`), by the rest of its name, in the order in which it first happens.
pub fn parts(spans: &[TimeSpan], prefix: &str) -> Vec<TimeShare> {
    let mut ours: Vec<(&TimeSpan, &str)> = spans.iter().filter_map(|span| Some((span, span.name.strip_prefix(prefix)?))).collect();
    ours.sort_by_key(|(span, _)| span.start);
    let mut parts: Vec<TimeShare> = Vec::new();
    for (span, name) in ours {
        let seconds = span.duration as f64 / 1e9;
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => (part.seconds, part.calls) = (part.seconds + seconds, part.calls + 1),
            None => parts.push(TimeShare { name: name.to_owned(), seconds, calls: 1 }),
        }
    }
    parts
}

/// Time of each operation without what lies within it, the longest first.
pub fn operations(spans: &[TimeSpan]) -> Vec<TimeShare> {
    let mut own: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
    let mut open: Vec<&TimeSpan> = Vec::new();
    for span in outer_first(spans.iter()) {
        while open.last().is_some_and(|outer| ends_before(outer, span)) {
            open.pop();
        }
        if let Some(outer) = open.last() {
            own.entry(&outer.name).or_default().0 -= span.duration as i64;
        }
        let entry = own.entry(&span.name).or_default();
        *entry = (entry.0 + span.duration as i64, entry.1 + 1);
        open.push(span);
    }
    let share =
        |(name, (nanoseconds, calls)): (&str, (i64, u64))| TimeShare { name: name.to_owned(), seconds: nanoseconds as f64 / 1e9, calls };
    let mut shares: Vec<TimeShare> = own.into_iter().map(share).collect();
    shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    shares
}

/// Operations a second, in 10⁹, of the best of ten products of [`SIDE`] × [`SIDE`] matrices: what a device can do.
pub fn limit(device: Device) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let matrix = Tensor::rand([SIDE, SIDE], (Kind::Float, device));
    let seconds = (0..10).map(|_| {
        let begin = Instant::now();
        // Reading a number waits for a GPU.
        let _ = matrix.mm(&matrix).double_value(&[0, 0]);
        begin.elapsed().as_secs_f64()
    });
    2.0 * (SIDE as f64).powi(3) / 1e9 / seconds.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, start: u64, duration: u64) -> TimeSpan {
        TimeSpan { name: name.into(), thread: 1, start, duration, flops: 0 }
    }

    #[test]
    fn an_operation_has_its_time_without_what_lies_within_it() {
        let other_thread = TimeSpan { thread: 2, flops: 3_000_000_000, ..span("aten::mm", 3, 500) };
        let spans = [
            span("aten::mm", 120, 50),
            span("step/forward image", 100, 1000),
            span("aten::linear", 100, 100),
            span("aten::linear", 300, 10),
            span("step/backward", 1100, 200),
            other_thread,
        ];
        let shown: Vec<_> =
            operations(&spans).into_iter().map(|share| (share.name, (share.seconds * 1e9).round() as i64, share.calls)).collect();
        assert_eq!(
            shown,
            [
                ("step/forward image".into(), 890, 1),
                ("aten::mm".into(), 550, 2),
                ("step/backward".into(), 200, 1),
                ("aten::linear".into(), 60, 2)
            ]
        );
        let names: Vec<_> = parts(&spans, "step/").into_iter().map(|share| share.name).collect();
        assert_eq!(names, ["forward image", "backward"]);
        assert!(parts(&spans, "eval/").is_empty());
        let products = ProductWork::of(&spans);
        assert!((products.seconds - 500e-9).abs() < 1e-15 && products.gflop == 3.0, "{products:?}");
    }

    #[test]
    fn a_product_within_itself_is_counted_once() {
        let product = |start, duration| TimeSpan { flops: 2_000_000_000, ..span("aten::conv2d", start, duration) };
        // As under autocast: casts, and then the convolution that was asked for. The next one begins as the first ends.
        let spans = [product(100, 300), span("aten::to", 110, 80), product(200, 200), product(400, 50)];
        let products = ProductWork::of(&spans);
        assert!((products.seconds - 250e-9).abs() < 1e-15 && products.gflop == 4.0, "{products:?}");
        assert_eq!(ProductWork::of(&[]), ProductWork::default());
    }
}
