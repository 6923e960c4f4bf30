// node clipart.js FOLDER: writes train.tsv, test.tsv and classnames.txt into FOLDER from the Open Clip Art Library unpacked in FOLDER/openclipart.
//
// The caption of a picture is its title and up to four of its keywords. Its class is the top folder. Pictures of some authors are the test, so that
// it asks about hands that were not trained on.
"use strict";
const fs = require("fs");
const path = require("path");
const crypto = require("crypto");

const folder = process.argv[2];
const svgs = path.join(folder, "openclipart/svg");
const pngs = path.join(folder, "openclipart/png");
// Folders that say how a picture came there, and not what is on it.
const NO_CLASS = new Set(["special", "unsorted"]);
const entities = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const files = (at) =>
  fs.readdirSync(at, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? files(path.join(at, entry.name)) : entry.name.endsWith(".svg") ? [path.join(at, entry.name)] : []));
const plain = (text) =>
  text
    .replace(/<[^>]*>/g, " ")
    .replace(/&(\w+);/g, (all, name) => entities[name] ?? " ")
    .replace(/^\s*clip\s?art by .* - /i, "")
    .replace(/[_\s]+/g, " ")
    .replace(/ ?\d+$/, "")
    .trim()
    .toLowerCase();
const first = (text, pattern) => (text.match(pattern) || ["", ""])[1];

const rows = [];
const seen = new Set();
for (const file of files(svgs)) {
  const inside = path.relative(svgs, file);
  const kind = inside.split(path.sep)[0];
  const picture = path.join(pngs, inside.replace(/\.svg$/, ".png"));
  const text = fs.readFileSync(file, "utf8");
  // Many drawings lie in several folders: the first counts.
  if (NO_CLASS.has(kind) || seen.has(path.basename(file)) || !fs.existsSync(picture)) continue;
  seen.add(path.basename(file));
  const author = plain(first(first(text, /<dc:creator>([\s\S]*?)<\/dc:creator>/), /<dc:title>([\s\S]*?)<\/dc:title>/)) || "unknown";
  // Some authors sign in the title: then the file's name tells what is drawn.
  const told = plain(first(text, /<dc:title>([\s\S]*?)<\/dc:title>/));
  const title = told && told !== author ? told : plain(path.basename(file, ".svg"));
  const subject = first(text, /<dc:subject>([\s\S]*?)<\/dc:subject>/);
  const words = [...subject.matchAll(/<rdf:li>([\s\S]*?)<\/rdf:li>/g)].map((found) => plain(found[1])).filter((word) => word && word !== title && word !== author);
  const caption = [title, [...new Set(words)].slice(0, 4).join(", ")].filter((part) => part).join(": ");
  rows.push({ picture: path.relative(folder, picture), caption, kind, author });
}

const names = [...new Set(rows.map((row) => row.kind))].sort();
// Every fifth author by a hash of the name; pictures of unknown hands are trained on.
const tested = (author) => author !== "unknown" && crypto.createHash("sha256").update(author).digest()[0] % 5 === 0;
for (const [name, part] of [["train", rows.filter((row) => !tested(row.author))], ["test", rows.filter((row) => tested(row.author))]]) {
  const lines = part.map((row) => [row.picture, row.caption.replace(/\t/g, " "), names.indexOf(row.kind)].join("\t"));
  fs.writeFileSync(path.join(folder, `${name}.tsv`), ["filepath\ttitle\tlabel", ...lines].join("\n") + "\n");
  console.log(`${name}: ${part.length} pictures of ${new Set(part.map((row) => row.author)).size} authors`);
}
fs.writeFileSync(path.join(folder, "classnames.txt"), names.map((name) => name.replace(/_/g, " ")).join("\n") + "\n");
