"""Writes tokenizer.json: ids of open_clip's SimpleTokenizer, context 77, for ordinary and hostile captions.

A case is [text, ids], or [piece, times, ids] for a text that repeats a piece; `letters` and `numbers` are the code points of \\p{L} and \\p{N} of the
Python package `regex`, as first and last of each range.
"""

import json
import pathlib
import random
import unicodedata

import ftfy
import open_clip
import regex
from open_clip.tokenizer import SimpleTokenizer

HAND = r"""
a photo of a dog.
A Photo of a DOG!
tench
a bad photo of a TENCH.
great white shark
it's the dogs' we've I'm you'll they'd don't can't SHE'S
IT'S 'S 'T 'RE 'VE 'M 'LL 'D 's't're
rock'n'roll o'clock ''s '' ' s
’s it’s don’t “quoted” ‘single’ „low“ ‚low‘ «guillemets»
2 dogs, 10 cats and 3.14159 pies at 12:30 on 2024-01-31
hello,world;foo:bar|baz/qux\\quux
!!! ??? ... --- *** ### $$$ %%% ^^^ &&& (((
under_score and-dash and—dash and–dash
e-mail: someone@example.com http://www.example.com/a?b=c&d=e#f
<start_of_text>
<end_of_text>
a <start_of_text> b <end_of_text> c
<START_OF_TEXT> <End_Of_Text>
x!<start_of_text> <<end_of_text>> !<end_of_text>
<|startoftext|> <|endoftext|> <|endoftext|>a
< start_of_text > <start_of_text
<ſtart_of_text> 'ſ <end_of_tex
😀 grinning
👩‍👩‍👧‍👦 family 👨🏽‍💻 👍🏿 🏳️‍🌈 🇩🇪🇫🇷 🏴󠁧󠁢󠁷󠁬󠁳󠁿
❤️ ❤ ♥ ☺️ ☺ #️⃣ 1️⃣
🫠🪿🫨🩷 🛜🫎
שלום עולם
مرحبا بالعالم ١٢٣
‮reversed‬ text ⁦isolate⁩
你好，世界。一二三 ２０２４年
こんにちは世界 ｶﾀｶﾅ ﾊﾟﾋﾟ カタカナ ゔ
안녕하세요 세계 ﾡﾢ
Привет, мир! ЁЖИК
Γειά σου Κόσμε ΣΊΣΥΦΟΣ ΟΔΟΣ ΑΣ. ΑΣ1
नमस्ते दुनिया ಕನ್ನಡ தமிழ்
สวัสดีชาวโลก
Հայերեն ქართული ᲥᲐᲠᲗᲣᲚᲘ
İstanbul ISPARTA ılık İİ
ŸÜÄÖ ẞ ß ŒUVRE Ĳ Ǆ ǅ ǆ ŉ
café cafe\u0301 CAFE\u0301 n\u0303 a\u030a\u0301
Z\u0351\u036b\u0343\u036aA\u0489\u0321L\u0323\u0321G\u0334O\u0337
ﬁsh ﬂy oﬀer oﬃce ﬆop ﬅop ﬄ
ＦＵＬＬ　ｗｉｄｔｈ　１２３！
zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffbom
soft\u00adhyphen no\u00a0break thin\u2009space ideographic\u3000space
tab\there newline\nhere cr\rhere crlf\r\nhere vt\u000bhere ff\fhere
nel\u0085here ls\u2028here ps\u2029here
nul\u0000here bell\u0007here del\u007fhere esc\u001bhere
fs\u001cgs\u001drs\u001eus\u001f.
c1 \u0080\u0091quoted\u0092\u0093\u0094\u0096\u0097\u0099 \u0081\u008d\u008f\u0090\u009d
\u001b[31mred\u001b[0m \u001b[1;32;40mbold\u001b[m
object\ufffcreplacement\ufffd anchor\ufff9\ufffa\ufffb \u206a\u206f
private \ue000\uf8ff \U000f0000
unassigned \u0378 \uffff \ufdd0 \U0010ffff
math 𝒜𝓑ℂ ∑∏∫√ ≤≥≠ ½ ¼ ² ³ ¹ ⅷ ① ㊗
roman ⅠⅡⅢ ⅰⅱⅲ ↀ
№ ™ © ® ℃ Å K Ω ª º µ
&amp; &lt; &gt; &quot; &apos; &nbsp; &copy;
&amp;amp; &amp;lt;b&amp;gt; &amp;amp;amp;
&amp;amp;amp;amp;lt;
&AMP; &EACUTE; &eacute; &NTILDE; &nTILDE; &SZLIG;
&amp &lt &copy 2024 &notit; &notin; &not
&#65; &#x41; &#X41 &#65 &#128; &#x80; &#0; &#xD800; &#x110000; &#1; &#xFFFE; &#13; &#10;
&#12ab; &#; &#x; & &; && &nosuch; &hearts;
&#x2019;s &rsquo;s it&#39;s it&#x27;s
&#38;#38;lt; &amp;#39;
<b>bold &amp; brave</b>
first &lt;\nsecond <b> &lt;\nthird &amp;lt; &EACUTE;
&lt;start_of_text&gt; &lt;end_of_text&gt;
&CounterClockwiseContourIntegral; &fjlig; &NotEqualTilde; &ThickSpace;
&#00000000000000000000000000000000000000000000000000000000000065;
âœ” No problems
sÃ³ voilÃ le travail
Ã la mode, fÃ cil, Ã quel, Ãquele
l’humanitÃ© â€œquotesâ€\u009d â€“ dash â€™
â€œlossy â€� quotesâ€
doubly Ã¢â‚¬Å“encodedÃ¢â‚¬Â\u009d
ð\u009f\u0098\u0080 ðŸ˜€ ðŸ’–
ГѓВ© РџСЂРёРІРµС‚ РјРёСЂ
ΓΌΓΆ Î‘Î¸Î®Î½Î±
ä½ å¥½ ã\u0083\u0084 ã‚¤ãƒ³
Å‚Ã³dÅº Å›roda ĹĽĂłĹ‚w
Ø§ÙØ¹Ø±Ø¨ÙŠØ© ×¢×‘×¨×™×ª
√© √° ‚Äú ‚Äô ‚Äî
├⌐ ΓÇ£ ├á ┬á
CESU í\u00a0½í¸\u0080 À\u0080
HÃ¤user FrÃ¼hstÃ¼ck straÃŸe mixed with ünïcödé and café
Ãƒâ€šÃ‚Â© Â© Â® Â£5 Â½
‘’‛‚ “”‟„ ʼ ′ ″
¡Hola! ¿Qué tal? ¯\\_(ツ)_/¯ (╯°□°)╯︵ ┻━┻ ಠ_ಠ ʕ•ᴥ•ʔ
ÅÄÖ åäö ÆØÅ æøå ÇĞİÖŞÜ çğıöşü
à la carte, déjà vu, naïve façade, Ångström, jalapeño, São Paulo, Zürich
€100 £5 ¥10 ¢50 ₹ ₽ ₿ 100€ 5£
° 25°C 50% ‰ † ‡ § ¶ • ·
supercalifragilisticexpialidocious antidisestablishmentarianism
qwrtpsdfghjklzxcvbnm xqzjkvwp aaaaaaaaaaaaaaaaaaaa
thethethethethe ababababab 0000000000 111 1a2b3c
mixed漢字andكلماتwordsи слова
a   b\t\tc\n\nd   
   leading and trailing   
.
!
!?
'
"
\u200b
\u00a0
\u3000
\u0300
\ufe0f
a\u0300\u0316 \u0316\u0300
가 각 \u1100\u1161\u11a8
ﬀﬁﬂ and ﷺ ﷽ ﻻ
𝟘𝟙𝟚 𝕳𝖊𝖑𝖑𝖔 🄰🅱 🅰️ Ⓐⓑ
𐐀𐐨 𞤀 𝄞 𓀀 𒀀
""".strip("\n").split("\n")

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABC xyz 012 .,!?'\"-_&;#<>",
    "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœžšÀÂÃÐÎÅ",
    "Ã©Ã¢â‚¬Å“\u009dÂ€™šœž¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿ ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГРС‚ђѓ",
    "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΞΟΣςΪΫ΄΅€",
    "你好世界日本語漢字かなカナ한국어，。！",
    "😀😁🤖👍🏽‍❤️🇩🇪🏳🌈☃⌚",
    "\u0000\u0001\t\n\u000b\u001b[0m\u007f\u0085\u00a0\u00ad\u200b\u200e\u2028\u3000\ufeff\ufffd x",
    "&amp;lt#x41;gtquot39nbsp ",
    "│┌┐└├┤═╬▀▄█√≈∞≤≥∂†•…‰‹›ˆ˜ƒŸŒ ae",
    "\u0300\u0301\u0308\u0327\u0328aeiounAEIOUNṩ\u0323\u0307",
]


def generated(count: int) -> list[str]:
    rng = random.Random(20261124)
    words = ["a", "photo", "of", "the", "dog", "It's", "café", "&amp;", "naïve", "ÐŸÑ€Ð¸", "Ã©t", "don’t", "3.5", "<b>", "№5", "😀", "ﬁne", "ＡＢ", "İz", "…", "<end_of_text>"]
    texts = []
    for index in range(count):
        kind = index % 4
        if kind == 0:
            text = " ".join(rng.choice(words) for _ in range(rng.randint(1, 14)))
        elif kind == 1:
            alphabet = rng.choice(ALPHABETS)
            text = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 30)))
        elif kind == 2:
            text = "".join(rng.choice(rng.choice(ALPHABETS)) for _ in range(rng.randint(1, 24)))
        else:
            # Real damage: text encoded as UTF-8 and read as something else, once or twice, at times beside good text.
            text = " ".join(rng.choice(["Größe", "naïve", "“Hi”", "Привет", "Ελλάδα", "日本", "😀", "½ €", "à la", "señor", "łódź"]) for _ in range(3))
            for _ in range(rng.randint(1, 2)):
                name = rng.choice(["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253", "macroman", "cp437"])
                text = text.encode("utf-8").decode(name)
            text = rng.choice(["", "plain ", "è bon "]) + text + rng.choice(["", " end", " ÿ"])
            if rng.random() < 0.2:
                text = text.replace("\u00a0", " ")
        texts.append(text)
    return texts


REPEATS = [("a", 1_000_000), ("ab", 500_000), ("the", 300_000), ("z", 20_000), ("é", 500_000), ("字", 300_000), ("😀", 250_000), ("dog ", 250_000), (" ", 1_000_000), ("!", 1_000_000), ("9", 100_000), ("&amp;", 200_000), ("Ã©", 20_000)]


def ranges(property_: str) -> list[int]:
    pattern = regex.compile(property_)
    out, inside = [], False
    for code in range(0x110000):
        found = not 0xD800 <= code <= 0xDFFF and pattern.match(chr(code)) is not None
        if found != inside:
            out.append(code if found else code - 1)
            inside = found
    return out


def main() -> None:
    tokenizer = SimpleTokenizer()
    texts = [unescape(line) for line in HAND]
    texts += ["", " ", *generated(300)]
    cases = [[text, encode(tokenizer, text)] for text in dict.fromkeys(texts)]
    cases += [[piece, times, encode(tokenizer, piece * times)] for piece, times in REPEATS]
    decoded = []
    for _, ids in [case for case in cases if len(case) == 2][:60]:
        text = tokenizer.decode(ids).split("<end_of_text>")[0].replace("<start_of_text>", "").rstrip()
        decoded.append([ids, text])
    origin = f"open_clip {open_clip.__version__}, ftfy {ftfy.__version__}, regex {regex.__version__}, unicodedata {unicodedata.unidata_version}; written by tokenizer.py"
    golden = {"origin": origin, "cases": cases, "decoded": decoded, "letters": ranges(r"\p{L}"), "numbers": ranges(r"\p{N}")}
    path = pathlib.Path(__file__).with_suffix(".json")
    # One case a line, so that a change shows what changed.
    parts = []
    for key, value in golden.items():
        if key in ("cases", "decoded"):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(len(cases), "cases,", path.stat().st_size, "bytes")


def unescape(line: str) -> str:
    """The escapes of a Python string, in a line that may hold any character."""
    return regex.sub(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|[tnrf\\])", lambda found: found.group(0).encode().decode("unicode_escape"), line)


def encode(tokenizer: SimpleTokenizer, text: str) -> list[int]:
    row = tokenizer([text])[0].tolist()
    # The row is padded with 0, which is also the id of `!`: the length comes from the tokens themselves.
    return row[: min(len(row), len(tokenizer.encode(text)) + 2)]


if __name__ == "__main__":
    main()
