//! Draws the pictures of the shapes data set. Additions, multiplications and divisions alone, which every machine rounds alike: no function
//! of a mathematics library, so the same bytes everywhere.

use image::{Rgb, RgbImage};
use rand_core::RngCore;
use vlhub_sdk::random;

use super::Look;

/// Samples per pixel and direction.
const GRID: usize = 3;
/// Red, orange, yellow, green, cyan, blue, purple, pink, in the order of [`super::COLOURS`].
pub(super) const PAINTS: [[u8; 3]; 12] = [
    [215, 30, 35],
    [250, 125, 10],
    [245, 220, 40],
    [25, 145, 50],
    [50, 215, 220],
    [35, 65, 215],
    [130, 40, 165],
    [255, 150, 200],
    [110, 65, 25],
    [150, 235, 60],
    [15, 20, 90],
    [250, 250, 250],
];
/// Textures are drawn with the paint darkened to this many 255ths: a hue of their own would look like another colour.
const INK: u32 = 140;
/// Where the members of a group of one to four stand, in radii of one of them.
const GROUPS: [&[(f64, f64)]; 4] = [
    &[(0.0, 0.0)],
    &[(-1.08, 0.0), (1.08, 0.0)],
    &[(0.0, -1.0), (-1.08, 0.95), (1.08, 0.95)],
    &[(-1.08, -1.08), (1.08, -1.08), (-1.08, 1.08), (1.08, 1.08)],
];

/// A picture of `side` × `side` pixels that looks as `look` says and otherwise as `rng` says.
pub fn draw(look: &Look, side: u32, rng: &mut dyn RngCore) -> RgbImage {
    let mut canvas = background(side, rng);
    // Many large shapes would leave no room for a place.
    let radius = match (look.large, look.count) {
        (true, 0) => 0.34,
        (true, _) => 0.195,
        (false, 0) => 0.22,
        (false, _) => 0.15,
    } * random::between(rng, 0.92, 1.06);
    let group = GROUPS[look.count];
    let reach = |of: &dyn Fn(&(f64, f64)) -> f64| group.iter().map(of).fold(0.0, f64::max) * radius + radius * 1.05;
    let room = (0.5 - reach(&|at| at.0.abs()), 0.5 - reach(&|at| at.1.abs()));
    let mut place = |side: usize, room: f64| {
        0.5 + room.max(0.0)
            * match side {
                0 => -random::between(rng, 0.8, 1.0),
                1 => random::between(rng, -0.12, 0.12),
                _ => random::between(rng, 0.8, 1.0),
            }
    };
    let centre = (place(look.column, room.0), place(look.row, room.1));
    let paint = PAINTS[look.colour].map(|value| jitter(value.into(), 16.0, rng));
    for (x, y) in group {
        let wobble = radius * 0.05;
        let shape = Placed {
            kind: look.shape,
            texture: look.texture,
            x: centre.0 + x * radius + random::between(rng, -wobble, wobble),
            y: centre.1 + y * radius + random::between(rng, -wobble, wobble),
            radius,
            // Tangent of the half of up to 9 degrees; much more would make a square a diamond.
            turn: rotation(random::between(rng, -0.08, 0.08)),
            phase: (random::uniform(rng), random::uniform(rng)),
        };
        shape.paint(&mut canvas, paint);
    }
    canvas
}

/// Grey of some lightness with a tint, a slope and noise.
fn background(side: u32, rng: &mut dyn RngCore) -> RgbImage {
    // Never as light as white paint.
    let lightness = random::between(rng, 60.0, 190.0);
    let base = [(); 3].map(|()| lightness + random::between(rng, -12.0, 12.0));
    let slope = (random::between(rng, -40.0, 40.0), random::between(rng, -40.0, 40.0));
    let noise = random::between(rng, 0.0, 14.0);
    RgbImage::from_fn(side, side, |x, y| {
        let [along, down] = [x, y].map(|at| (f64::from(at) + 0.5) / f64::from(side) - 0.5);
        let light = slope.0 * along + slope.1 * down;
        let grain = rng.next_u32().to_le_bytes();
        let value = |channel: usize| base[channel] + light + (f64::from(grain[channel]) / 255.0 - 0.5) * noise;
        Rgb([0, 1, 2].map(|channel| value(channel).clamp(0.0, 255.0) as u8))
    })
}

fn jitter(value: f64, width: f64, rng: &mut dyn RngCore) -> u8 {
    (value + random::between(rng, -width, width)).clamp(0.0, 255.0) as u8
}

/// Cosine and sine of an angle from the tangent of its half.
fn rotation(half_tangent: f64) -> (f64, f64) {
    let square = half_tangent * half_tangent;
    ((1.0 - square) / (1.0 + square), 2.0 * half_tangent / (1.0 + square))
}

/// One shape on the canvas; lengths in sides of the picture.
struct Placed {
    kind: usize,
    texture: usize,
    x: f64,
    y: f64,
    radius: f64,
    turn: (f64, f64),
    phase: (f64, f64),
}

impl Placed {
    fn paint(&self, canvas: &mut RgbImage, paint: [u8; 3]) {
        let side = f64::from(canvas.width());
        let span = |centre: f64| {
            let edge = |at: f64| (at * side).clamp(0.0, side) as u32;
            edge(centre - self.radius * 1.1)..(edge(centre + self.radius * 1.1) + 1).min(canvas.width())
        };
        let (columns, rows) = (span(self.x), span(self.y));
        let step = 1.0 / (side * GRID as f64);
        let dark = paint.map(|value| u32::from(value) * INK / 255);
        for y in rows {
            for x in columns.clone() {
                let (mut covered, mut inked) = (0u32, 0u32);
                for sample in 0..GRID * GRID {
                    let along = f64::from(x) / side + ((sample % GRID) as f64 + 0.5) * step - self.x;
                    let down = f64::from(y) / side + ((sample / GRID) as f64 + 0.5) * step - self.y;
                    let (cosine, sine) = self.turn;
                    let (along, down) = (along * cosine + down * sine, down * cosine - along * sine);
                    if inside(self.kind, along / self.radius, down / self.radius) {
                        covered += 1;
                        inked += u32::from(ink(self.texture, along, down, self.phase));
                    }
                }
                if covered == 0 {
                    continue;
                }
                let all = (GRID * GRID) as u32;
                let pixel = canvas.get_pixel_mut(x, y);
                for ((value, &paint), &dark) in pixel.0.iter_mut().zip(&paint).zip(&dark) {
                    let mixed = u32::from(*value) * (all - covered) + u32::from(paint) * (covered - inked) + dark * inked;
                    *value = ((mixed + all / 2) / all) as u8;
                }
            }
        }
    }
}

/// Whether a point is inside a shape of radius about 1, `y` down. The order is that of [`super::SHAPES`].
fn inside(kind: usize, x: f64, y: f64) -> bool {
    let square = x * x + y * y;
    match kind {
        // circle, square, triangle
        0 => square <= 0.92 * 0.92,
        1 => x.abs() <= 0.8 && y.abs() <= 0.8,
        2 => y <= 0.78 && x.abs() <= (y + 0.98) * 0.56,
        // star: five half-planes, of which a point may be outside one
        3 => {
            const NORMALS: [(f64, f64); 5] =
                [(0.0, -1.0), (0.951_056, -0.309_017), (0.587_785, 0.809_017), (-0.587_785, 0.809_017), (-0.951_056, -0.309_017)];
            square <= 1.1 * 1.1 && NORMALS.iter().filter(|(across, down)| x * across + y * down > 0.36).count() <= 1
        }
        // cross, ring, diamond
        4 => (x.abs() <= 0.29 && y.abs() <= 0.93) || (y.abs() <= 0.29 && x.abs() <= 0.93),
        5 => (0.52 * 0.52..=0.98 * 0.98).contains(&square),
        6 => x.abs() / 0.7 + y.abs() <= 1.0,
        // heart: the sextic (x² + y² - 1)³ = x²y³, y up
        _ => {
            let (x, y) = (x * 1.22, 0.12 - y * 1.22);
            let rest = x * x + y * y - 1.0;
            rest * rest * rest <= x * x * y * y * y
        }
    }
}

/// Whether a texture is dark at a point, in sides of the picture. The order is that of [`super::TEXTURES`].
fn ink(texture: usize, x: f64, y: f64, phase: (f64, f64)) -> bool {
    let wave = |at: f64, period: f64, phase: f64| (at / period + phase + 64.0) % 1.0;
    match texture {
        1 => wave(x + y, 0.13, phase.0) < 0.36,
        2 => {
            let across = wave(x, 0.105, phase.0) - 0.5;
            let down = wave(y, 0.105, phase.1) - 0.5;
            across * across + down * down < 0.33 * 0.33
        }
        3 => (wave(x, 0.15, phase.0) < 0.5) == (wave(y, 0.15, phase.1) < 0.5),
        _ => false,
    }
}
