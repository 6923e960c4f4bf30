//! A look at a model in the browser, and a JSON API: pictures against class names, and search in a folder of pictures.
//!
//! The model stays on the thread that calls [`serve`] and answers one question after another; connections are read, bounded and timed by
//! others. So nobody's request can take more memory or time than the limits below; a question that nobody waits for is not answered, and one
//! whose client goes away meanwhile is given up between two chunks of prompts.

mod answering;
mod door;
mod http;
mod request;
mod search;

pub use answering::Answering;
pub use door::Door;
pub use search::PictureIndex;

use std::net::TcpListener;
use std::time::Duration;

use crate::data::decode::PictureOptions;
use crate::data::views::ImageInput;
use crate::failure::{Failure, Outcome};

/// Bytes of a request's body: a picture of 24 MB in base64.
pub const MOST_BODY: usize = 32 << 20;

/// Class names of one question.
pub const MOST_CLASSES: usize = 2000;

/// Sentences around class names in one question.
pub const MOST_TEMPLATES: usize = 100;

/// Prompts of one question: each class name in each sentence.
pub const MOST_PROMPTS: usize = 20_000;

/// Bytes of all prompts of one question: a sentence may hold the class name many times.
pub const MOST_PROMPT_BYTES: usize = 16 << 20;

/// Bytes of a text.
pub const MOST_TEXT: usize = 4096;

/// Pictures that a search finds at most.
pub const MOST_FOUND: usize = 100;

/// Questions that wait for the model; more are turned away.
const WAITING: usize = 64;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 256;

/// Longest time from the start of a request to its answer, the wait for the model included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time for the head of a request, and for its body.
const READING: Duration = Duration::from_secs(15);

/// How questions are read.
#[derive(Clone, Copy, Debug)]
pub struct PictureReading {
    /// How pictures are decoded.
    pub pictures: PictureOptions,
    /// What the image tower reads, if there is one.
    pub input: Option<ImageInput>,
}

/// Answers questions that come to `listener` until the process ends.
///
/// # Errors
/// The threads that read requests cannot be started.
pub fn serve(listener: TcpListener, door: Door, reading: PictureReading, answering: &Answering<'_>) -> Outcome {
    let (questions, waiting) = crossbeam_channel::bounded(WAITING);
    let about = answering.about();
    let files = answering.files();
    http::start(listener, http::Site { door, reading, about, files, questions })
        .map_err(|error| Failure::new(Failure::RUN, format!("cannot serve: {error}")))?;
    for asked in waiting {
        answering.answer(asked);
    }
    Ok(())
}
