//! Every preset at its full size, on paper, and what all families do.

use vlhub_sdk::prelude::*;
use vlhub_sdk::registered_here;
use vlhub_sdk::tch::nn::VarStore;

/// Size of the picture, pooled width, tokens, and trainable parameters in timm 1.0.31 without classifier, each shared one counted once.
const PRESETS: &[(&str, [i64; 4])] = &[
    ("swin_tiny_patch4_window7_224", [224, 768, 49, 27_519_354]),
    ("swin_small_patch4_window7_224", [224, 768, 49, 48_837_258]),
    ("swin_base_patch4_window7_224", [224, 1024, 49, 86_743_224]),
    ("swin_base_patch4_window12_384", [384, 1024, 144, 86_878_584]),
    ("swin_large_patch4_window7_224", [224, 1536, 49, 194_995_476]),
    ("swin_large_patch4_window12_384", [384, 1536, 144, 195_198_516]),
    ("swinv2_tiny_window8_256", [256, 768, 64, 27_578_154]),
    ("swinv2_tiny_window16_256", [256, 768, 64, 27_578_154]),
    ("swinv2_small_window8_256", [256, 768, 64, 48_959_418]),
    ("swinv2_small_window16_256", [256, 768, 64, 48_959_418]),
    ("swinv2_base_window8_256", [256, 1024, 64, 86_893_816]),
    ("swinv2_base_window16_256", [256, 1024, 64, 86_893_816]),
    ("swinv2_base_window12_192", [192, 1024, 36, 86_893_816]),
    ("swinv2_large_window12_192", [192, 1536, 36, 195_202_932]),
    ("swinv2_base_window12to16_192to256", [256, 1024, 64, 86_893_816]),
    ("swinv2_base_window12to24_192to384", [384, 1024, 144, 86_893_816]),
    ("swinv2_large_window12to16_192to256", [256, 1536, 64, 195_202_932]),
    ("swinv2_large_window12to24_192to384", [384, 1536, 144, 195_202_932]),
    ("swinv2_large_window12to24_192to384_22kft1k", [384, 1536, 144, 195_202_932]),
    ("maxvit_tiny_tf_224", [224, 512, 49, 30_403_528]),
    ("maxvit_small_tf_224", [224, 768, 49, 68_158_956]),
    ("maxvit_base_tf_224", [224, 768, 49, 118_698_708]),
    ("maxvit_large_tf_224", [224, 1024, 49, 210_760_560]),
    ("maxvit_xlarge_tf_224", [224, 1536, 49, 473_414_952]),
    ("gcvit_xxtiny", [224, 512, 49, 11_482_428]),
    ("gcvit_xtiny", [224, 512, 49, 19_468_294]),
    ("gcvit_tiny", [224, 512, 49, 27_708_974]),
    ("gcvit_small", [224, 768, 49, 50_323_173]),
    ("gcvit_base", [224, 1024, 49, 89_295_836]),
    ("coat_tiny", [224, 152, 49, 5_345_540]),
    ("coat_mini", [224, 216, 49, 10_120_004]),
    ("coat_small", [224, 320, 49, 21_372_908]),
    ("coat_lite_tiny", [224, 320, 49, 5_400_960]),
    ("coat_lite_mini", [224, 512, 49, 10_498_560]),
    ("coat_lite_small", [224, 512, 49, 19_325_504]),
    ("coat_lite_medium", [224, 512, 49, 44_058_048]),
    ("coat_lite_medium_384", [384, 512, 144, 44_058_048]),
];

fn on_paper(config: &dyn Config<dyn Backbone>) -> Result<[i64; 4]> {
    let run = || {
        let store = VarStore::new(Device::Cpu);
        let tower = config.build(&BackboneCx { path: store.root(), embed: 8 })?;
        let InputSpec::Image { size, .. } = tower.input() else { return Err(Error::invalid("it reads no pictures")) };
        let noise = Noise::new(Tensor::zeros([2], (Kind::Int64, Device::Cpu)));
        let hidden = tower.encode(&Tensor::zeros([2, 3, size.0, size.1], (Kind::Float, Device::Cpu)), true, Some(&noise))?;
        let tokens = hidden.tokens.map(|tokens| tokens.values.size()[1]).unwrap_or_default();
        assert_eq!(hidden.pooled.size(), [2, tower.width()]);
        let count = store.trainable_variables().iter().map(|value| value.numel() as i64).sum();
        Ok([size.0, tower.width(), tokens, count])
    };
    vlhub_torch_ext::on_paper(run)?.0
}

#[test]
fn every_preset_has_timms_sizes_and_runs_on_paper() -> Result<()> {
    let entries = registered_here().backbone;
    assert_eq!(entries.len(), PRESETS.len() + 5, "each preset and the five families");
    for (name, wanted) in PRESETS {
        let entry = entries.iter().find(|entry| entry.name == *name).unwrap_or_else(|| panic!("no backbone is called `{name}`"));
        let config = vlhub_sdk::testkit::all::parse(entry, &vlhub_sdk::testkit::all::defaults(entry).expect("it has options"));
        let config: Box<dyn Config<dyn Backbone>> = config.expect("its own options");
        assert_eq!(on_paper(&*config)?, *wanted, "{name}");
    }
    Ok(())
}

#[test]
fn stochastic_depth_is_a_matter_of_the_rows_seeds_in_every_family() -> Result<()> {
    // Batch norm couples the rows of `maxvit`.
    for family in ["swin", "swinv2", "gcvit", "coat"] {
        let entries = registered_here().backbone;
        let entry = entries.iter().find(|entry| entry.name == family).unwrap_or_else(|| panic!("no backbone is called `{family}`"));
        let mut options = vlhub_sdk::testkit::all::defaults(entry).expect("it has options");
        options["drop_path"] = 0.5.into();
        let config: Box<dyn Config<dyn Backbone>> = vlhub_sdk::testkit::all::parse(entry, &options).expect("its own options");
        let store = VarStore::new(Device::Cpu);
        let tower = config.build(&BackboneCx { path: store.root(), embed: 8 })?;
        vlhub_sdk::testkit::golden::fill(&store);
        let InputSpec::Image { size, .. } = tower.input() else { panic!("`{family}` reads no pictures") };
        let x = Tensor::randn([4, 3, size.0, size.1], (Kind::Float, Device::Cpu));
        let encode = |x: &Tensor, seeds: &[i64]| -> Result<Tensor> {
            Ok(tower.encode(x, false, Some(&Noise::new(Tensor::from_slice(seeds))))?.pooled)
        };
        let whole = encode(&x, &[1, 2, 3, 4])?;
        let apart = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
        assert!(apart(&whole.narrow(0, 2, 2), &encode(&x.narrow(0, 2, 2), &[3, 4])?) < 1e-5, "{family}: a chunk sees what the batch saw");
        assert!(apart(&whole, &encode(&x, &[5, 6, 7, 8])?) > 1e-3, "{family}: other seeds leave out other branches");
    }
    Ok(())
}
