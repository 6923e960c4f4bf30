//! How long the metrics of 5,000 pictures with five texts each take, embeddings at hand: `cargo run --example ranks -p vlhub-plugin-retrieval`.
//! CLIP_benchmark's two calls of `batchify(recall_at_k, …)` for each K are what to compare it with.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use vlhub_plugin_retrieval::RetrievalConfig;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Datasets, Sample, Skills, image, serde_json};

const PICTURES: usize = 5000;
const TEXTS: usize = 5;
const WIDTH: i64 = 512;

/// Pictures whose pixel is their number, and texts that are theirs.
#[derive(Clone)]
struct Numbers;

impl Datasets for Numbers {
    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Dataset for Numbers {
    fn len(&self) -> usize {
        PICTURES
    }
    fn classes(&self) -> &[String] {
        &[]
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new((0..PICTURES).map(|at| self.sample(at)))
    }
    fn sample(&self, at: usize) -> Result<Sample> {
        let image = image::RgbImage::from_pixel(1, 1, image::Rgb([(at % 256) as u8, (at / 256) as u8, 0]));
        let texts = (at * TEXTS..(at + 1) * TEXTS).map(|text| text.to_string()).collect();
        Ok(Sample { key: at.to_string(), image, texts, labels: vec![], meta: BTreeMap::new() })
    }
}

/// Knows an embedding for each number.
struct Known {
    images: Tensor,
    texts: Tensor,
}

fn pick(rows: &Tensor, at: &[i64]) -> Encoded {
    let embed = rows.index_select(0, &Tensor::from_slice(at));
    Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
}

impl Model for Known {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        let number = |image: &RgbImage| i64::from(image.get_pixel(0, 0)[0]) + 256 * i64::from(image.get_pixel(0, 0)[1]);
        Ok(pick(&self.images, &images.iter().map(number).collect::<Vec<_>>()))
    }
    fn texts(&self, texts: &[String], _tokens: bool) -> Result<Encoded> {
        let number = |text: &String| text.parse::<i64>().map_err(|error| Error::invalid(error.to_string()));
        Ok(pick(&self.texts, &texts.iter().map(number).collect::<Result<Vec<_>>>()?))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, texts: true, ..Skills::default() }
    }
}

fn main() -> Result<()> {
    let texts = Tensor::randn([(PICTURES * TEXTS) as i64, WIDTH], (Kind::Float, Device::Cpu));
    let owners = Tensor::arange_start_step(0, (PICTURES * TEXTS) as i64, TEXTS as i64, (Kind::Int64, Device::Cpu));
    let images = Tensor::randn([PICTURES as i64, WIDTH], (Kind::Float, Device::Cpu)) * 2.0 + texts.index_select(0, &owners);
    let model = Known { images, texts };
    let suite = RetrievalConfig::default().build(&EvalCx::new(&Numbers))?;
    for _ in 0..3 {
        let (mut report, start) = (Report::default(), Instant::now());
        suite.run(&model, &mut report)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{seconds:.2} s, text_to_image_R@5 {:?}", report.get("text_to_image_R@5"));
    }
    Ok(())
}
