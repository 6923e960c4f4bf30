"""Writes hf_tokenizers.json: tiny tokenizers of each kind, and the ids that open_clip's HFTokenizer and SimpleTokenizer give for texts.

A case names a tokenizer and the options of open_clip; its rows are padded to the context, one for each text. Zeros at the end of a row of
`clip` are padding. Training breaks ties by chance, so each run of this script writes other vocabularies.
"""

import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import open_clip
import tokenizers
import transformers
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """
a photo of a dog. a photo of the cat! two dogs and three cats play with a red ball in the park, on a sunny day.
the quick brown fox jumps over the lazy dog; it's a picture of something small & quiet. une photo d'un chat déjà vu.
ein schöner Hund läuft über die Straße. 一张 狗 的 照片 猫 と 犬 の 写真 собака и кошка на фото. 0 1 2 3 4 5 6 7 8 9 10 2024
""".strip().split("\n")

TEXTS = [
    "",
    " ",
    "a photo of a dog.",
    "A Photo of a DOG!",
    "two dogs, 10 cats and 3.14159 pies at 12:30",
    "the quick brown fox jumps over the lazy dog; it's a picture of something small & quiet and the quick brown fox jumps again",
    "dog " * 60,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "x" * 120,
    "it's don't we've ’quoted’ “words” …",
    "under_score and-dash and—dash a_b__c",
    "&lt;b&gt;bold &amp;amp; brave&lt;/b&gt; caf&eacute; &#39;x&#39;",
    "déjà vu, schön, Straße, naïve façade Ångström",
    "cafe\u0301 A\u030angstro\u0308m \u1e9e \u0130stanbul",
    "sÃ³ voilÃ le travail â€œquotesâ€\u009d",
    "一张狗的照片。猫と犬の写真",
    "собака и кошка на фото",
    "مرحبا بالعالم שלום",
    "😀 a dog 👩‍👩‍👧 🏳️‍🌈 ❤️",
    "ﬁsh ＦＵＬＬ　ｗｉｄｔｈ １２３ ½ ™",
    "tab\there newline\nhere cr\r\nhere   three   spaces  ",
    "nul\u0000bell\u0007del\u007f nel\u0085 nbsp\u00a0here zero\u200bwidth \u2028 \u3000 fs\u001cgs",
    "soft\u00adhyphen \ufeffbom \ufffd replacement private \ue000",
    "[CLS] a [SEP] dog [PAD] [MASK] [UNK] </s> <pad> <s> <mask> <unk>",
    "!!! ??? ... --- *** ### $$$ %%% ^^^ (((",
    ".",
    "_",
    "▁a ▁▁ dog",
    "  leading and trailing  ",
    "mixed漢字andكلماتwordsи слова",
    "<end_of_text> a <start_of_text> eng_Latn fra_Latn b",
]


def bert():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=tokens, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.decoder = decoders.WordPiece()
    # What a file keeps from its own training must not matter.
    made.enable_truncation(7)
    return made


def roberta():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def unigram(byte_fallback):
    tokens = ["<pad>", "</s>", "<unk>"]
    spaces = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    first = Tokenizer(models.Unigram())
    first.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    first.pre_tokenizer = spaces
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=tokens, unk_token="<unk>", show_progress=False)
    first.train_from_iterator(CORPUS, trainer)
    state = json.loads(first.to_str())
    pieces = [(piece, round(score, 4)) for piece, score in state["model"]["vocab"]]
    if byte_fallback:
        pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    made = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=byte_fallback))
    made.normalizer, made.pre_tokenizer = first.normalizer, spaces
    made.add_special_tokens(tokens)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]) if byte_fallback else decoders.Metaspace()
    return made


def nllb():
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=220, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.add_special_tokens(["eng_Latn", "fra_Latn", "<mask>"])
    ends = [("</s>", 2), ("eng_Latn", made.token_to_id("eng_Latn"))]
    # As the published file: the class in Python puts the language first.
    made.post_processor = processors.TemplateProcessing(single="$A </s> eng_Latn", pair="$A $B </s> eng_Latn", special_tokens=ends)
    made.decoder = decoders.Metaspace()
    return made


def gemma():
    """Byte-level fallback in BPE, a configuration that does not replace the file's frame, and padding on the left because of the class."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=tokens, show_progress=False, max_token_length=6)
    made.train_from_iterator([line.replace(".", " ") for line in CORPUS], trainer)
    state = json.loads(made.to_str())
    # The bytes are entries of the vocabulary, not tokens that a text may name.
    state["added_tokens"] = state["added_tokens"][:4]
    made = Tokenizer.from_str(json.dumps(state))
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return made


def configuration(**tokens):
    return {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **tokens}


def main():
    words = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    pieces = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True}}
    ends = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    robertas = {"unk_token": "<unk>", "pad_token": "<pad>", **ends}
    nllbs = {"tokenizer_class": "NllbTokenizer", "src_lang": "eng_Latn", **robertas}
    gemmas = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    wordpiece = bert()
    kinds = {
        "bert": (wordpiece, configuration(**words)),
        "roberta": (roberta(), configuration(**robertas)),
        "t5": (unigram(False), configuration(**pieces)),
        # SigLIP's own vocabulary fills up with its end token.
        "siglip": (unigram(True), configuration(**{**pieces, "pad_token": "</s>"})),
        "nllb": (nllb(), configuration(**nllbs)),
        "gemma": (
            gemma(),
            configuration(tokenizer_class="GemmaTokenizer", add_bos_token=False, add_eos_token=True, **gemmas),
        ),
        "clips": (wordpiece, configuration(bos_token="[MASK]", eos_token="[SEP]", **{k: v for k, v in words.items() if k != "mask_token"})),
        "left": (wordpiece, configuration(truncation_side="left", padding_side="left", **words)),
    }
    cases = [
        ("bert", {"context_length": 16}),
        ("bert", {"context_length": 12, "clean": "lower", "strip_sep_token": True}),
        ("bert", {"context_length": 2, "clean": "canonicalize"}),
        ("roberta", {"context_length": 16}),
        ("roberta", {"context_length": 12, "clean": "canonicalize", "strip_sep_token": True}),
        ("t5", {"context_length": 16, "clean": "canonicalize"}),
        ("t5", {"context_length": 12}),
        ("siglip", {"context_length": 16, "clean": "canonicalize"}),
        ("siglip", {"context_length": 24, "clean": "lower"}),
        ("nllb", {"context_length": 14}),
        ("nllb", {"context_length": 12, "language": "fra_Latn", "clean": "lower"}),
        ("gemma", {"context_length": 16, "clean": "canonicalize"}),
        ("clips", {"context_length": 12, "tokenizer_mode": "clips"}),
        ("left", {"context_length": 12}),
        ("clip", {"context_length": 16, "clean": "canonicalize"}),
        ("clip", {"context_length": 12, "clean": "whitespace"}),
    ]
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (made, config) in kinds.items():
            path = pathlib.Path(folder) / name
            path.mkdir()
            (path / "tokenizer.json").write_text(made.to_str())
            (path / "tokenizer_config.json").write_text(json.dumps(config))
        for name, options in cases:
            tokenizer = SimpleTokenizer(**options) if name == "clip" else HFTokenizer(str(pathlib.Path(folder) / name), **options)
            if "language" in options:
                # open_clip's own `language` is undone by the next call: transformers sets the frame of `src_lang` again.
                tokenizer.tokenizer.src_lang = options["language"]
            written.append({"tokenizer": name, "options": options, "rows": tokenizer(TEXTS).tolist()})
    origin = f"open_clip {open_clip.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    compact = {"separators": (",", ":")}
    files = {name: {"tokenizer.json": json.loads(made.to_str()), "tokenizer_config.json": config} for name, (made, config) in kinds.items()}
    # Those that differ in their configuration alone share a file.
    for name in ["clips", "left"]:
        files[name]["tokenizer.json"] = "bert"
    lines = [json.dumps(case, **compact) for case in written]
    parts = [f'"origin": {json.dumps(origin + "; written by hf_tokenizers.py")}', f'"texts": {json.dumps(TEXTS, **compact)}']
    parts.append('"files": {\n' + ",\n".join(f"{json.dumps(name)}: {json.dumps(file, **compact)}" for name, file in files.items()) + "\n}")
    parts.append('"cases": [\n' + ",\n".join(lines) + "\n]")
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(len(cases), "cases of", len(TEXTS), "texts,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
