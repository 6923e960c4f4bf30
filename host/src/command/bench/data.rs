//! `vlhub bench data`.

use super::{config_of, print_json, seconds_above_zero};
use crate::cli::{BenchDataArgs, Shared};
use crate::data::speed;
use crate::failure::{Failure, Outcome};
use crate::session;

/// Measures how fast batches come.
pub(super) fn data(shared: &Shared, args: &BenchDataArgs) -> Outcome {
    let seconds = seconds_above_zero(args.seconds)?;
    let config = config_of(shared, &args.run, &args.overrides)?;
    let data = session::loading::training_data(&config)?;
    // As training does.
    vlhub_torch_ext::keep_memory();
    let speed = speed::measure(&data.loader, seconds).map_err(|error| Failure::new(Failure::DATA, error.to_string()))?;
    if args.json {
        return print_json(&speed);
    }
    if let Some([width, height, bytes]) = speed.picture {
        say!("pictures of {width:.0}×{height:.0}, {:.1} kB, on average", bytes / 1000.0);
    }
    say!("samples a second, {} thread{}:", speed.threads, if speed.threads == 1 { "" } else { "s" });
    let stages = [
        ("read", Some(speed.read)),
        ("decode", speed.decode),
        ("augment", speed.augment),
        ("tokenise", speed.tokenise),
        ("end to end", Some(speed.end_to_end)),
    ];
    for (name, rate) in stages {
        if let Some(rate) = rate {
            say!("  {name:<10}  {rate:>10.0}");
        }
    }
    if let Some(share) = speed.of_decode {
        say!("end to end is {:.0} % of decoding alone", share * 100.0);
    }
    Ok(())
}
