//! The families against small networks of timm's that the scripts of `tests/golden` recorded, and what no golden file can hold.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::prelude::*;
use vlhub_sdk::registered_here;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden;

use crate::convnext::ConvNextConfig;
use crate::efficientnet::EfficientNetConfig;
use crate::resmlp::ResMlpConfig;

const EMBED: i64 = 8;

fn build(config: &dyn Config<dyn Backbone>) -> Result<(VarStore, Box<dyn Backbone>)> {
    let store = VarStore::new(Device::Cpu);
    let tower = config.build(&BackboneCx { path: store.root(), embed: EMBED })?;
    Ok((store, tower))
}

fn preset(name: &str) -> Result<(VarStore, Box<dyn Backbone>)> {
    let entry = registered_here().backbone.into_iter().find(|entry| entry.name == name).expect("a preset");
    let options = vlhub_sdk::serde_json::to_value((entry.defaults)()).expect("options");
    let config = (entry.parse)(&mut <dyn vlhub_sdk::erased_serde::Deserializer<'_>>::erase(&options)).expect("its own options");
    build(&*config)
}

fn against(file: &str) {
    let path = format!("{}/../../tests/golden/{file}.json", env!("CARGO_MANIFEST_DIR"));
    golden::check(path, EMBED).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn convnexts_equal_timms() {
    against("timm_convnext");
}

#[test]
fn efficientnets_equal_timms() {
    against("timm_efficientnet");
}

#[test]
fn resmlps_equal_timms() {
    against("timm_resmlp");
}

#[test]
fn presets_have_as_many_parameters_as_timms_networks() -> Result<()> {
    // `sum(p.numel() for p in timm.create_model(name, num_classes=0).parameters())`
    for (name, wanted) in [
        ("convnext_atto", 3_374_520),
        ("convnextv2_atto", 3_387_400),
        ("efficientnet_b0", 4_007_548),
        ("tf_efficientnet_b2", 7_700_994),
        ("efficientnetv2_rw_t", 12_624_388),
        ("resmlp_12_224", 14_965_872),
    ] {
        let (store, _) = preset(name)?;
        let count: i64 = store.trainable_variables().iter().map(|value| value.numel() as i64).sum();
        assert_eq!(count, wanted, "{name}");
    }
    Ok(())
}

#[test]
fn projections_have_the_names_that_open_clip_gives() -> Result<()> {
    let names = |config: &dyn Config<dyn Backbone>| build(config).map(|(_, tower)| tower.projection());
    let linear = |name, bias| Projection::Linear { name, bias };
    assert_eq!(names(&ConvNextConfig { proj_bias: true, ..ConvNextConfig::default() })?, linear("head.proj", true));
    let proj = Proj::Classifier;
    assert_eq!(names(&ConvNextConfig { proj, ..ConvNextConfig::default() })?, linear("trunk.head.fc", true));
    assert_eq!(names(&EfficientNetConfig { proj, ..EfficientNetConfig::default() })?, linear("trunk.classifier", true));
    assert_eq!(names(&ResMlpConfig { proj, ..ResMlpConfig::default() })?, linear("trunk.head", true));
    Ok(())
}

#[test]
fn stochastic_depth_is_a_matter_of_training_and_of_the_rows_seeds() -> Result<()> {
    let convnext = ConvNextConfig { drop_path: 0.5, ls_init_value: 1.0, ..ConvNextConfig::default() };
    let efficientnet = EfficientNetConfig { drop_path: 0.5, ..EfficientNetConfig::default() };
    let resmlp = ResMlpConfig { drop_path: 0.5, init_values: 1.0, ..ResMlpConfig::default() };
    let configs: [&dyn Config<dyn Backbone>; 3] = [&convnext, &efficientnet, &resmlp];
    for config in configs {
        let (_, tower) = build(config)?;
        let InputSpec::Image { size, .. } = tower.input() else { panic!("{config:?} reads pictures") };
        let x = Tensor::randn([8, 3, size.0, size.1], (Kind::Float, Device::Cpu));
        let pooled = |first: i64| {
            let noise = Noise::new(Tensor::arange(8, (Kind::Int64, Device::Cpu)) + first);
            tower.encode(&x, false, Some(&noise)).map(|hidden| hidden.pooled)
        };
        assert!(pooled(0)?.equal(&pooled(0)?), "the same seeds: {config:?}");
        assert!(!pooled(0)?.allclose(&pooled(100)?, 1e-3, 1e-4, false), "other seeds: {config:?}");
    }
    Ok(())
}

#[test]
fn parameters_start_as_in_the_reference() -> Result<()> {
    let (convnext, _) = preset("convnext_atto")?;
    let (efficientnet, _) = preset("efficientnet_b0")?;
    let (resmlp, _) = preset("resmlp_12_224")?;
    for (store, name, wanted, why) in [
        (&convnext, "stages.3.blocks.1.mlp.fc1.weight", 0.02, "normal"),
        (&convnext, "stages.2.downsample.1.weight", 0.02, "normal"),
        (&convnext, "stages.2.blocks.1.conv_dw.bias", 0.0, "zero"),
        (&efficientnet, "conv_head.weight", (2f64 / 1280.0).sqrt(), "1280 outputs of 1 place each"),
        (&efficientnet, "blocks.5.3.conv_dw.weight", (2f64 / 25.0).sqrt(), "one output of 25 places in each group"),
        (&efficientnet, "blocks.5.3.se.conv_expand.bias", 0.0, "zero"),
        (&resmlp, "stem.proj.weight", (1f64 / 768.0).sqrt(), "768 inputs"),
        (&resmlp, "blocks.11.mlp_channels.fc1.weight", (2f64 / 1920.0).sqrt(), "Xavier over 384 inputs and 1536 outputs"),
    ] {
        let found = store.variables()[&format!("trunk.{name}")].std(false).double_value(&[]);
        assert!((found - wanted).abs() <= 0.05 * wanted, "{name}: standard deviation {found}, not {wanted}: {why}");
    }
    assert_eq!(convnext.variables()["trunk.stages.0.blocks.0.gamma"].double_value(&[3]) as f32, 1e-6);
    Ok(())
}

#[test]
fn everything_wrong_with_the_options_is_told_at_once() {
    let convnext = ConvNextConfig { image_size: 31, depths: [1, 0, 1, 1], norm_eps: 0.0, drop_path: 1.0, ..ConvNextConfig::default() };
    let arch_def = vec![String::from("ir_r1_k4_s1_e6_c24"), String::from("mb_r1")];
    let efficientnet = EfficientNetConfig { arch_def, depth_multiplier: 0.0, std: [0.0; 3], ..EfficientNetConfig::default() };
    let resmlp = ResMlpConfig { image_size: 30, layers: 0, mlp_ratio: 0.0, ..ResMlpConfig::default() };
    let cases: [(&dyn Config<dyn Backbone>, &[&str]); 3] = [
        (&convnext, &["`image_size` = 31", "at least 32", "`depths` = [1, 0, 1, 1]", "`norm_eps`", "`drop_path` = 1"]),
        (&efficientnet, &["`ir_r1_k4_s1_e6_c24`", "odd k", "`mb_r1`", "`depth_multiplier` = 0", "`std`"]),
        (&resmlp, &["`patch_size` = 8 does not divide `image_size` = 30", "`layers` = 0", "`mlp_ratio`"]),
    ];
    for (config, parts) in cases {
        let error = build(config).map(|_| ()).expect_err("mistakes").to_string();
        for part in parts {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}

#[test]
fn pictures_of_another_shape_or_kind_are_refused_with_both_shapes() -> Result<()> {
    let (_, tower) = build(&ConvNextConfig::default())?;
    for (shape, kind) in [(vec![2, 3, 64, 60], Kind::Float), (vec![2, 1, 64, 64], Kind::Float), (vec![2, 3, 64, 64], Kind::Uint8)] {
        let error = tower.encode(&Tensor::zeros(&shape, (kind, Device::Cpu)), false, None).expect_err("another shape").to_string();
        assert!(error.contains("[B, 3, 64, 64]") && error.contains(&format!("{kind:?} {shape:?}")), "{error}");
    }
    Ok(())
}
