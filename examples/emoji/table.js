// node table.js FOLDER: writes google.tsv, twitter.tsv and classnames.txt into FOLDER from the packages unpacked in FOLDER/png.
"use strict";
const fs = require("fs");
const path = require("path");

const folder = process.argv[2];
const styles = ["google", "twitter"];
const read = (style) => JSON.parse(fs.readFileSync(path.join(folder, "png", style, "emoji.json"), "utf8"));
const drawn = (style, emoji) => fs.existsSync(path.join(folder, "png", style, "img", style, "64", emoji.image));

// Emoji of which every style has a drawing. Skin tones alone are no pictures; drawings with a skin tone are not in the list at all.
const emoji = read(styles[0])
  .filter((one) => one.category !== "Component" && styles.every((style) => one[`has_img_${style}`] && drawn(style, one)))
  .sort((a, b) => a.sort_order - b.sort_order);

// Unicode's name in small letters, such as `grinning face`; the short name where that is missing or stands for two emoji.
const plain = (text) => text.toLowerCase().replace(/[_\s]+/g, " ").trim();
const count = new Map();
for (const one of emoji) {
  const name = plain(one.name || "");
  count.set(name, (count.get(name) || 0) + 1);
}
const title = (one) => {
  const name = plain(one.name || "");
  return name && count.get(name) === 1 ? name : plain(one.short_name);
};

const names = emoji.map(title);
if (new Set(names).size !== names.length) {
  throw new Error("two emoji have one name");
}
for (const style of styles) {
  const rows = emoji.map((one, label) => [`png/${style}/img/${style}/64/${one.image}`, names[label], label, one.category].join("\t"));
  fs.writeFileSync(path.join(folder, `${style}.tsv`), ["filepath\ttitle\tlabel\tcategory", ...rows].join("\n") + "\n");
}
fs.writeFileSync(path.join(folder, "classnames.txt"), names.join("\n") + "\n");
console.log(`${names.length} emoji, ${new Set(emoji.map((one) => one.category)).size} categories`);
