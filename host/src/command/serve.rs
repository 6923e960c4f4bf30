//! `vlhub serve`.

use std::net::{IpAddr, TcpListener};

use tch::{Kind, Tensor};
use vlhub_core::Model;
use vlhub_sdk::ops::normalize;

use super::model::{ModelRequest, WithoutWeights, choose};
use super::named_pictures::NamedPictures;
use crate::cli::{ServeArgs, Shared};
use crate::evaluation::{EvalModel, class_names};
use crate::failure::{Failure, Outcome};
use crate::serve::{Answering, Door, PictureIndex, PictureReading, serve as answer_at};

/// Answers questions about a model in a browser, until it is stopped.
pub fn serve(shared: &Shared, args: &ServeArgs) -> Outcome {
    // An address that is taken must not be found out after the index was computed.
    let listener = TcpListener::bind((args.host, args.port))
        .map_err(|error| Failure::usage(format!("cannot listen on {}:{}: {error}; choose another `--port`", args.host, args.port)))?;
    let door = door(args.host, args.token.clone())?;
    let without = if args.random_weights { WithoutWeights::Random } else { WithoutWeights::Refuse };
    let asked = ModelRequest {
        model: args.model.as_deref(),
        document: None,
        overrides: &[],
        checkpoint: Some(&args.checkpoint),
        weights: &args.weights,
        without,
    };
    let chosen = choose(shared, asked)?;
    let config = &chosen.config;
    let device = crate::device::device(args.device.as_deref().unwrap_or(&config.top.device))?;
    let session = chosen.build(device, true)?;
    let scale = session.logit_scale().map(|scale| scale.to_kind(Kind::Float).exp().double_value(&[]));
    let names = session.loaded.first().map(|loaded| class_names::of_checkpoint(&loaded.path)).unwrap_or_default();
    let model = EvalModel::of_session(&session, &names);
    let reading = PictureReading { pictures: args.pictures.over(config.top.pictures()), input: session.towers.pictures };
    let mut pictures = NamedPictures::find(&args.images, reading.input, reading.pictures)?;
    let (mut files, mut rows): (Vec<_>, Vec<Tensor>) = (Vec::new(), Vec::new());
    while let Some(read) = pictures.next_batch(BATCH)? {
        let (named, images): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        rows.push(normalize(&model.images(&images, false)?.embed.to_kind(Kind::Float)));
        files.extend(named);
    }
    let index = PictureIndex::new(files, &rows)?;
    let indexed = index.files.len();
    let name = args.model.clone().unwrap_or_else(|| args.checkpoint.clone());
    let address = listener.local_addr().map_err(|error| Failure::usage(format!("cannot tell the address: {error}")))?;
    let token = door.token().map(|token| format!("?token={token}")).unwrap_or_default();
    let answering = Answering::new(&model, name, scale, index);
    say!("{indexed} pictures indexed; open http://{address}/{token} (Ctrl-C ends it)");
    answer_at(listener, door, reading, &answering)
}

/// Pictures of the index that are encoded at a time.
const BATCH: usize = 64;

/// A token is asked for beyond this machine; one is made where none is given.
fn door(host: IpAddr, token: Option<String>) -> Outcome<Door> {
    let plain = |token: &String| token.len() >= 8 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    match token {
        Some(token) if plain(&token) => Ok(Door::with_token(token)),
        Some(_) => Err(Failure::usage("`--token` has at least 8 letters, digits, `-` and `_`, and nothing else")),
        None if host.is_loopback() => Ok(Door::loopback()),
        None => {
            let mut bytes = [0u8; 16];
            std::fs::File::open("/dev/urandom")
                .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut bytes))
                .map_err(|error| Failure::usage(format!("no token could be made ({error}); give one with `--token`")))?;
            Ok(Door::with_token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
        }
    }
}
