//! Length groups against rows that are encoded one by one.

use super::*;
use crate::engine::length_groups;
use crate::engine::towers::Seeds;

#[test]
fn short_texts_beside_long_ones_are_encoded_apart_and_nothing_changes() {
    let extra = "pad = 0\ndropout = 0.2\n[objective.clip]\n";
    let engine = engine(extra, OptimizerConfig::default(), |_| Vec::new());
    let random = |shape: &[i64], seed: i64| vlhub_core::Noise::new(Tensor::from_slice(&[seed])).uniform(shape).squeeze_dim(0) - 0.5;
    let no_grad = tch::no_grad_guard();
    for (place, (_, mut tensor)) in engine.towers.variables().into_iter().enumerate() {
        tensor.copy_(&random(&tensor.size(), place as i64));
    }
    drop(no_grad);
    // 24 texts of three tokens and eight that fill the context, in turn; the last token is the highest id.
    let texts: Vec<Tensor> = (0..32)
        .map(|row| {
            let length = if row % 4 == 0 { 8 } else { 3 };
            let words = ((random(&[length - 1], 100 + row) + 0.5) * 29.0).to_kind(Kind::Int64) + 1;
            Tensor::cat(&[words, Tensor::from_slice(&[31i64]), Tensor::zeros([8 - length], (Kind::Int64, Device::Cpu))], 0)
        })
        .collect();
    let ids = Tensor::stack(&texts, 0);
    assert_eq!(length_groups::groups(&ids, 0).expect("it cuts").len(), 2);
    let mut batch = Batch::new(32);
    batch.set_text("main", ids).expect("rows agree");
    let (need, seeds) = (Need::text("main"), Some(Seeds { step: 9, offset: 5 }));
    let read = random(&[32, 8], 7);
    let run = |rows: i64| {
        for (_, tensor) in engine.towers.trained() {
            vlhub_torch_ext::forget_gradient(&tensor).expect("it runs");
        }
        let embed: Vec<Tensor> = (0..32)
            .step_by(rows as usize)
            .map(|first| engine.towers.encode_need(&need, &batch.slice(first..first + rows), seeds, first).expect("it runs").embed)
            .collect();
        let embed = Tensor::cat(&embed, 0);
        (&embed * &read).sum(Kind::Float).backward();
        let grads: Tensors = engine.towers.trained().into_iter().map(|(name, tensor)| (name, tensor.grad())).collect();
        (embed.detach(), grads)
    };
    let (one_by_one, expected) = run(1);
    let (grouped, grads) = run(32);
    assert!(distance(&grouped, &one_by_one) < 1e-5, "{}", distance(&grouped, &one_by_one));
    for (name, grad) in grads.iter().filter(|(_, grad)| grad.defined()) {
        let error = distance(grad, &expected[name]);
        assert!(error < 1e-4, "gradient of {name}: {error}");
    }
}
