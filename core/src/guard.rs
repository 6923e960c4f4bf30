//! Panics stop at a plugin's border.
//!
//! A library has its own copy of `std`, and a panic of one copy that reaches another aborts the process. So each plugin is wrapped, in its
//! own library, by an adaptor that turns a panic (its own, or tch's unwrap of a libtorch error) into [`Error::Panic`].

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use image::RgbImage;
use rand_core::RngCore;
use tch::Tensor;

use crate::*;

/// A plugin behind its guard.
pub struct Guarded<K: ?Sized, About> {
    inner: Box<K>,
    name: &'static str,
    /// What never changes and has no way to fail: asked once, while the plugin is built.
    about: About,
}

impl<K: Debug + ?Sized, About> Debug for Guarded<K, About> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

/// What a backbone says of itself.
struct AboutBackbone {
    input: InputSpec,
    width: i64,
    recomputes: bool,
    stages: Vec<String>,
    projection: Projection,
}

/// What an objective says of itself.
struct AboutObjective {
    scope: Scope,
    needs: Vec<Need>,
    reads: Wants,
}

/// What a source says of itself.
struct AboutSource {
    len: usize,
    shares: Vec<Share>,
    labelled: bool,
    fingerprint: String,
}

/// Puts a plugin behind its guard.
pub(crate) trait Wrap {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self>;
}

impl Wrap for dyn Backbone {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        let about = AboutBackbone {
            input: inner.input(),
            width: inner.width(),
            recomputes: inner.recomputes(),
            stages: inner.stages(),
            projection: inner.projection(),
        };
        Box::new(Guarded { inner, name, about })
    }
}

impl Wrap for dyn Objective {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        let about = AboutObjective { scope: inner.scope(), needs: inner.needs(), reads: inner.reads() };
        Box::new(Guarded { inner, name, about })
    }
}

impl Wrap for dyn Augmentation {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        Box::new(Guarded { inner, name, about: () })
    }
}

impl Wrap for dyn CaptionTransform {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        let about = inner.reads();
        Box::new(Guarded { inner, name, about })
    }
}

impl Wrap for dyn EvalSuite {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        let about = inner.requires();
        Box::new(Guarded { inner, name, about })
    }
}

impl Wrap for dyn Source {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        let about = AboutSource { len: inner.len(), shares: inner.shares(), labelled: inner.labelled(), fingerprint: inner.fingerprint() };
        Box::new(Guarded { inner, name, about })
    }
}

impl Wrap for dyn ObjectStore {
    fn wrap(inner: Box<Self>, name: &'static str) -> Box<Self> {
        let about = inner.realm();
        Box::new(Guarded { inner, name, about })
    }
}

thread_local! {
    /// Messages of panics under a guard on this thread; `None` when no guard is active.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic becomes [`Error::Panic`] with its first line and place.
///
/// # Errors
/// Whatever `body` returns, or the panic.
pub fn catch<T>(name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
            let message = format!("{}{place}", first_line(info.payload()));
            let guarded = CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(|slot| *slot = message).is_some());
            if !guarded {
                loud(info);
            }
        }));
    });
    let before = CAUGHT.replace(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    let message = CAUGHT.replace(before).unwrap_or_default();
    result.unwrap_or_else(|payload| {
        let message = if message.is_empty() { first_line(payload.as_ref()) } else { message };
        Err(Error::Panic { plugin: name.to_owned(), message })
    })
}

fn first_line(payload: &dyn std::any::Any) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    // `unwrap` on a libtorch error prints its debug form, in which the lines of the C++ back trace are joined by `\n`.
    let text = text.unwrap_or("no message").split("\\n").next().unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

impl Backbone for Guarded<dyn Backbone, AboutBackbone> {
    fn input(&self) -> InputSpec {
        self.about.input.clone()
    }
    fn width(&self) -> i64 {
        self.about.width
    }
    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        catch(self.name, || self.inner.encode(input, tokens, noise))
    }
    fn encode_after(&self, prefix: &Tensor, rest: &Tensor) -> Result<Option<Hidden>> {
        catch(self.name, || self.inner.encode_after(prefix, rest))
    }
    fn recomputes(&self) -> bool {
        self.about.recomputes
    }
    fn stages(&self) -> Vec<String> {
        self.about.stages.clone()
    }
    fn projection(&self) -> Projection {
        self.about.projection.clone()
    }
}

impl Objective for Guarded<dyn Objective, AboutObjective> {
    fn scope(&self) -> Scope {
        self.about.scope
    }
    fn needs(&self) -> Vec<Need> {
        self.about.needs.clone()
    }
    fn reads(&self) -> Wants {
        self.about.reads
    }
    fn prepare(&self, batch: &mut Batch, rng: &mut dyn RngCore) -> Result<()> {
        catch(self.name, || self.inner.prepare(batch, rng))
    }
    fn weight(&self, batch: &Batch) -> f64 {
        // Not a number is what the engine refuses, and names the objective for.
        catch(self.name, || Ok(self.inner.weight(batch))).unwrap_or(f64::NAN)
    }
    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss> {
        catch(self.name, || {
            let loss = self.inner.loss(features, batch)?;
            if loss.total.numel() != 1 {
                return Err(Error::invalid(format!("the loss of `{}` has shape {:?}; a scalar is wanted", self.name, loss.total.size())));
            }
            Ok(loss)
        })
    }
    fn after_step(&mut self, seen: &Features, progress: f64) -> Result<()> {
        let inner = &mut self.inner;
        catch(self.name, || inner.after_step(seen, progress))
    }
    fn momentum(&self, progress: f64) -> Option<f64> {
        // As with `weight`.
        catch(self.name, || Ok(self.inner.momentum(progress))).unwrap_or(Some(f64::NAN))
    }
    fn skills(&self) -> Skills<'_> {
        let Ok(skills) = catch(self.name, || Ok(self.inner.skills())) else { return Skills::default() };
        // The skills themselves run behind the guard too.
        Skills {
            scorer: skills.scorer.map(|_| self as &dyn Scorer),
            captioner: skills.captioner.map(|_| self as &dyn Captioner),
            classifier: skills.classifier.map(|_| self as &dyn Classifier),
            ..skills
        }
    }
}

impl Guarded<dyn Objective, AboutObjective> {
    /// Uses a skill that `skills` was seen to have.
    fn skilled<T>(&self, body: impl FnOnce(Skills<'_>) -> Option<Result<T>>) -> Result<T> {
        let lost = || Err(Error::invalid(format!("`{}` has lost a skill", self.name)));
        catch(self.name, || body(self.inner.skills()).unwrap_or_else(lost))
    }
}

impl Scorer for Guarded<dyn Objective, AboutObjective> {
    fn tokens(&self) -> bool {
        self.skilled(|skills| skills.scorer.map(|scorer| Ok(scorer.tokens()))).unwrap_or(false)
    }
    fn score(&self, images: &Encoded, texts: &Encoded) -> Result<Tensor> {
        self.skilled(|skills| skills.scorer.map(|scorer| scorer.score(images, texts)))
    }
}

impl Captioner for Guarded<dyn Objective, AboutObjective> {
    fn context(&self) -> Option<i64> {
        // Without a context nothing is checked beforehand, and `caption` says what is wrong.
        self.skilled(|skills| skills.captioner.map(|captioner| Ok(captioner.context()))).unwrap_or_default()
    }
    fn caption(&self, images: &Encoded, seeds: &[u64], text: &TextSide<'_>, how: &Captioning) -> Result<Tensor> {
        self.skilled(|skills| skills.captioner.map(|captioner| captioner.caption(images, seeds, text, how)))
    }
}

impl Classifier for Guarded<dyn Objective, AboutObjective> {
    fn classes(&self) -> usize {
        // Nobody has 0 classes: whoever asks refuses it.
        self.skilled(|skills| skills.classifier.map(|classifier| Ok(classifier.classes()))).unwrap_or(0)
    }
    fn classify(&self, images: &Encoded) -> Result<Tensor> {
        self.skilled(|skills| skills.classifier.map(|classifier| classifier.classify(images)))
    }
}

impl Augmentation for Guarded<dyn Augmentation, ()> {
    fn apply(&self, image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        catch(self.name, || not_empty(self.inner.apply(image, rng)?, self.name))
    }
    fn crop(&self, size: (u32, u32), rng: &mut dyn RngCore) -> Option<Crop> {
        // Without a cut the whole picture is decoded, and `apply` says what is wrong.
        let crop = catch(self.name, || Ok(self.inner.crop(size, rng))).unwrap_or_default()?;
        let Region { x, y, width, height } = crop.region;
        let inside = |start: u32, length: u32, whole: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= whole);
        (inside(x, width, size.0) && inside(y, height, size.1) && crop.size.0 > 0 && crop.size.1 > 0).then_some(crop)
    }
    fn apply_crop(&self, image: RgbImage, part: Region, rng: &mut dyn RngCore) -> Result<RgbImage> {
        catch(self.name, || not_empty(self.inner.apply_crop(image, part, rng)?, self.name))
    }
}

fn not_empty(image: RgbImage, name: &str) -> Result<RgbImage> {
    if image.width() == 0 || image.height() == 0 {
        return Err(Error::invalid(format!("`{name}` returned an empty image")));
    }
    Ok(image)
}

impl CaptionTransform for Guarded<dyn CaptionTransform, Wants> {
    fn apply(&self, caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        catch(self.name, || self.inner.apply(caption, rng))
    }
    fn reads(&self) -> Wants {
        self.about
    }
    fn ids(&self, ids: Vec<i64>, rng: &mut dyn RngCore) -> Result<Vec<i64>> {
        let most = ids.len();
        catch(self.name, || {
            let ids = self.inner.ids(ids, rng)?;
            if ids.len() > most {
                return Err(Error::invalid(format!(
                    "`{}` made {} ids of {most}; a text must not outgrow the context",
                    self.name,
                    ids.len()
                )));
            }
            Ok(ids)
        })
    }
    fn classes(&self) -> Option<&[String]> {
        catch(self.name, || Ok(self.inner.classes())).unwrap_or_default()
    }
}

impl EvalSuite for Guarded<dyn EvalSuite, Requires> {
    fn requires(&self) -> Requires {
        self.about
    }
    fn check(&self, skills: &Skills<'_>) -> Result<()> {
        catch(self.name, || self.inner.check(skills))
    }
    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        catch(self.name, || self.inner.run(model, report))
    }
}

impl Source for Guarded<dyn Source, AboutSource> {
    fn len(&self) -> usize {
        self.about.len
    }
    fn key(&self, index: usize) -> String {
        catch(self.name, || Ok(self.inner.key(index))).unwrap_or_else(|_| format!("sample {index}"))
    }
    fn read(&self, index: usize) -> Result<Raw, Bad> {
        catch(self.name, || Ok(self.inner.read(index))).unwrap_or_else(|error| {
            let key = self.key(index);
            Err(Bad { place: key.clone(), key, reason: "panic", detail: error.to_string() })
        })
    }
    fn classes(&self) -> &[String] {
        catch(self.name, || Ok(self.inner.classes())).unwrap_or_default()
    }
    fn templates(&self) -> &[String] {
        catch(self.name, || Ok(self.inner.templates())).unwrap_or_default()
    }
    fn evaluated(&self) -> &[u32] {
        catch(self.name, || Ok(self.inner.evaluated())).unwrap_or_default()
    }
    fn labelled(&self) -> bool {
        self.about.labelled
    }
    fn fingerprint(&self) -> String {
        self.about.fingerprint.clone()
    }
    fn shares(&self) -> Vec<Share> {
        self.about.shares.clone()
    }
    fn problems(&self) -> &[Bad] {
        catch(self.name, || Ok(self.inner.problems())).unwrap_or_default()
    }
    fn notes(&self) -> &[String] {
        catch(self.name, || Ok(self.inner.notes())).unwrap_or_default()
    }
    fn unit(&self, index: usize) -> Option<String> {
        catch(self.name, || Ok(self.inner.unit(index))).unwrap_or_default()
    }
}

/// Runs what a store does; its panic is a fault that no other try mends.
fn faultless<T>(name: &str, body: impl FnOnce() -> Result<T, StoreFault>) -> Result<T, StoreFault> {
    catch(name, || Ok(body())).unwrap_or_else(|error| Err(StoreFault::lasting(error.to_string())))
}

impl ObjectStore for Guarded<dyn ObjectStore, String> {
    fn fetch(&self, address: &str, begun: Option<(u64, &str)>, to: &mut dyn ObjectSink) -> Result<(), StoreFault> {
        faultless(self.name, || self.inner.fetch(address, begun, to))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreFault> {
        faultless(self.name, || self.inner.list(prefix))
    }
    fn realm(&self) -> String {
        self.about.clone()
    }
}

/// Options whose plugin is built behind a guard. `register!` wraps every options type in it.
#[derive(Debug)]
pub struct GuardedConfig<C> {
    /// The options.
    pub config: C,
    /// The plugin's name, for errors.
    pub name: &'static str,
}

impl<C: serde::Serialize> serde::Serialize for GuardedConfig<C> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config.serialize(serializer)
    }
}

impl<K: Kind + ?Sized, C: Config<K> + serde::Serialize> Config<K> for GuardedConfig<C> {
    fn build(&self, cx: &K::Cx<'_>) -> Result<Box<K>> {
        catch(self.name, || Ok(K::guard(self.config.build(cx)?, self.name)))
    }
}

/// The schema of options; empty when making it panics. For `register!`.
pub fn schema(name: &str, make: fn() -> String) -> String {
    catch(name, || Ok(make())).unwrap_or_default()
}

/// Default options; none when making them panics. For `register!`.
pub fn defaults<C: serde::Serialize + 'static>(name: &str, make: impl FnOnce() -> C) -> Box<dyn erased_serde::Serialize> {
    match catch(name, || Ok(make())) {
        Ok(config) => Box::new(config),
        Err(_) => Box::new(()),
    }
}

/// Parses options; a panic is an error. For `register!`.
///
/// # Errors
/// What serde refuses, or the panic.
pub fn parse<K, C>(name: &'static str, options: &mut dyn erased_serde::Deserializer<'_>) -> Result<Box<dyn Config<K>>, erased_serde::Error>
where
    K: Kind + ?Sized,
    C: Config<K> + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let parsed = catch(name, || Ok(erased_serde::deserialize::<C>(options)));
    let config = parsed.map_err(<erased_serde::Error as serde::de::Error>::custom)??;
    Ok(Box::new(GuardedConfig { config, name }))
}

/// What a library exports; nothing when listing it panics. For `export!`.
pub fn exports(list: impl FnOnce() -> Exports) -> Exports {
    catch("the library", || Ok(list())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Clumsy;

    impl Objective for Clumsy {
        fn scope(&self) -> Scope {
            Scope::Batch
        }
        fn needs(&self) -> Vec<Need> {
            Vec::new()
        }
        fn weight(&self, _: &Batch) -> f64 {
            panic!("no weight")
        }
        fn loss(&self, _: &Features, _: &Batch) -> Result<Loss> {
            panic!("no loss\nand a second line")
        }
        fn skills(&self) -> Skills<'_> {
            Skills { scorer: Some(self), captioner: Some(self), ..Skills::default() }
        }
    }

    impl Captioner for Clumsy {
        fn context(&self) -> Option<i64> {
            Some(12)
        }
        fn caption(&self, _: &Encoded, _: &[u64], _: &TextSide<'_>, _: &Captioning) -> Result<Tensor> {
            panic!("no caption")
        }
    }

    impl Scorer for Clumsy {
        fn tokens(&self) -> bool {
            panic!("no idea")
        }
        fn score(&self, _: &Encoded, _: &Encoded) -> Result<Tensor> {
            panic!("no score")
        }
    }

    #[test]
    fn a_panic_anywhere_in_an_objective_is_an_error_that_names_it() {
        let guarded = <dyn Objective as Wrap>::wrap(Box::new(Clumsy), "clumsy");
        let error = guarded.loss(&Features::new(0..0, 0), &Batch::new(0)).expect_err("it panics").to_string();
        assert!(error.contains("`clumsy` panicked: no loss") && !error.contains("second line"), "{error}");
        assert!(guarded.weight(&Batch::new(0)).is_nan());
        let encoded = || Encoded { embed: Tensor::new(), pooled: Tensor::new(), tokens: None };
        let skills = guarded.skills();
        let scorer = skills.scorer.expect("it says that it scores");
        assert!(!scorer.tokens());
        let error = scorer.score(&encoded(), &encoded()).expect_err("it panics").to_string();
        assert!(error.contains("`clumsy` panicked: no score"), "{error}");
    }

    #[test]
    fn a_guarded_captioner_has_the_context_of_its_objective() {
        let guarded = <dyn Objective as Wrap>::wrap(Box::new(Clumsy), "clumsy");
        assert_eq!(guarded.skills().captioner.expect("it says that it writes").context(), Some(12));
    }

    #[test]
    fn a_source_that_panics_on_one_sample_loses_that_sample() {
        #[derive(Debug)]
        struct Hole;
        impl Source for Hole {
            fn len(&self) -> usize {
                2
            }
            fn key(&self, index: usize) -> String {
                format!("number {index}")
            }
            fn read(&self, index: usize) -> Result<Raw, Bad> {
                assert!(index != 1, "nothing is there");
                Ok(Raw { key: self.key(index), picture: None, caption: Caption::default() })
            }
            fn fingerprint(&self) -> String {
                "hole".into()
            }
            fn unit(&self, index: usize) -> Option<String> {
                assert!(index != 1, "nothing is there");
                Some("picture".into())
            }
        }
        let guarded = <dyn Source as Wrap>::wrap(Box::new(Hole), "hole");
        assert!(guarded.read(0).is_ok());
        let bad = guarded.read(1).expect_err("it panics");
        assert!((bad.key.as_str(), bad.reason) == ("number 1", "panic") && bad.detail.contains("nothing is there"), "{bad}");
        assert_eq!((guarded.unit(0), guarded.unit(1)), (Some("picture".into()), None), "the sampling unit passes the guard");
    }

    #[test]
    fn a_libtorch_error_that_is_unwrapped_loses_its_back_trace() {
        let error = catch("shapes", || Ok(Tensor::from_slice(&[1.0f32, 2.0]).view([3i64]))).expect_err("two are not three").to_string();
        assert!(error.contains("`shapes` panicked") && error.lines().count() == 1 && !error.contains("frame #"), "{error}");
    }
}
