"""Texts that tokenizers are compared on: captions as people write them, and what else comes out of the web. The same ones every time."""

import html
import random
import unicodedata

OBJECTS = """person bicycle car motorcycle airplane bus train truck boat bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack
umbrella handbag tie suitcase frisbee skis snowboard ball kite bat glove skateboard surfboard racket bottle cup fork knife spoon bowl banana apple
sandwich orange broccoli carrot pizza donut cake chair couch plant bed table toilet television laptop mouse remote keyboard phone microwave oven
toaster sink refrigerator book clock vase scissors toothbrush man woman boy girl child crowd street sidewalk beach kitchen bathroom field
mountain river building window tower sign hydrant meter fence bridge snow grass sand counter mirror shelf lamp pillow blanket sign""".split()
KINDS = """small large old young red blue green white black brown yellow wooden stuffed parked open busy empty city snowy sunny grassy rocky
colorful striped vintage modern dirty clean half-eaten two-story double-decker black-and-white""".split()
DOES = """sitting standing lying walking riding holding eating looking playing flying parked leaning jumping resting running posing waiting
swinging grazing skateboarding surfing snowboarding cooking""".split()
RARE = """Labrador retriever Schipperke Kuvasz borzoi Pembroke axolotl isopod tench hammerhead cauliflower zucchini stupa yurt Kathmandu Reykjavik
Leica f/2.8 1920x1080 IMG_2043.jpg #sunset @someone 18mm 3.5 12:30 2024 don't it's they're O'Brien e-mail www.example.com/photo?id=12""".split()
LANGUAGES = ["Ein kleiner Hund läuft über die Straße", "Un café crème à la terrasse, déjà vu", "El niño juega con la piñata mañana", "Gęś i żółw na łące",
    "Маленькая собака бежит по снегу", "Ένας σκύλος τρέχει στην παραλία", "雪の上を走る犬", "一只在雪地里奔跑的狗。", "눈 위를 달리는 개", "كلب يركض على الشاطئ", "כלב רץ על החוף",
    "एक कुत्ता बर्फ में दौड़ रहा है", "สุนัขวิ่งบนชายหาด", "Một con chó chạy trên bãi biển", "İstanbul'da bir köpek", "ქართული ძაღლი", "Հայերեն շուն", "ＦＵＬＬ　ｗｉｄｔｈ　１２３"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "❤️", "☺", "1️⃣", "🏳️‍🌈", "🪿", "🫨", "✨", "☃", "™", "½", "℃", "№", "ﬁ", "㊗", "Ⅷ", "²"]
MARKS = ["’", "‘", "“", "”", "…", "–", "—", "«", "»", "¿", "¡", "•", "·", "´", "`", "''", "'s", "'LL", "’t", "!!!", "?!", "(", ")", "_", "#!/", "!<", "$$", "<b>", "</b>"]
SPECIAL = ["<start_of_text>", "<end_of_text>", "<START_OF_TEXT>", "<|startoftext|>", "<|endoftext|>", "<ſtart_of_text>", "</w>", "'ſ", "<end_of_text", "start_of_text>"]
CONTROLS = ["\0", "\x07", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b[0m", "\x1b[31m", "\x1c", "\x1f", "\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u200d", "\u200e",
    "\u2028", "\u2029", "\u3000", "\ufeff", "\ufffc", "\ufffd", "\ufe0f", "\u0301", "\u0323", "\ue000", "\uffff"]
REFERENCES = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;", "&eacute;", "&EACUTE;", "&hellip", "&amp;amp;", "&amp;lt;b&amp;gt;", "&#x27;", "&#128;", "&#0;", "&notit;", "&copy 2024",
    "&;", "&#;", "& ", "&nosuch;", "&#xD800;", "&#1;", "&fjlig;", "&rsquo;", "&#8217;"]
CHARSETS = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253", "macroman", "cp437"]


def caption(rng):
    """One as in COCO: ten to twenty words of English, now and then a name, a number or a file."""
    def thing():
        return " ".join(filter(None, (rng.choice(("a", "the", "two", "some")), rng.choice(KINDS) if rng.random() < 0.6 else "", rng.choice(OBJECTS))))
    parts = [thing(), rng.choice(DOES), rng.choice(("on", "in", "near", "beside", "under", "next to", "in front of", "on top of")), thing()]
    while sum(len(part.split()) for part in parts) < rng.randint(9, 16):
        parts += [rng.choice(("and", "with", "while", "near")), thing()]
    if rng.random() < 0.15:
        parts.insert(rng.randrange(len(parts)), rng.choice(RARE))
    text = " ".join(parts)
    return text[0].upper() + text[1:] + rng.choice((".", ".", ".", "", " .", "!"))


def mixed(rng):
    """Pieces of every kind in a row, with and without spaces."""
    pools = (OBJECTS, RARE, LANGUAGES, EMOJI, MARKS, SPECIAL, CONTROLS, REFERENCES)
    return rng.choice(("", " ")).join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 12)))


def damaged(rng):
    """Text that was written as UTF-8 and read as something else, once or twice, at times beside text that was not."""
    text = " ".join(rng.choice((*LANGUAGES, *EMOJI, *MARKS)) for _ in range(rng.randint(1, 3)))
    for _ in range(rng.randint(1, 2)):
        text = text.encode().decode(rng.choice(CHARSETS), errors="replace")
    return rng.choice(("", "a photo of ", "è bon ")) + text + rng.choice(("", ".", " ÿ"))


def escaped(rng):
    """Text out of a web page, escaped once or more."""
    text = caption(rng) if rng.random() < 0.5 else rng.choice(LANGUAGES) + rng.choice(("&", "<i>", "'", '"'))
    for _ in range(rng.randint(1, 3)):
        text = html.escape(text) if rng.random() < 0.7 else text.encode("ascii", "xmlcharrefreplace").decode()
    return text


def noise(rng):
    """Bytes of no meaning, as UTF-8 that was mended or as another character set."""
    data = bytes(rng.randrange(256) for _ in range(rng.randint(1, 40)))
    return data.decode("utf-8", "replace") if rng.random() < 0.5 else data.decode("latin-1")


def letters(rng):
    """Characters from anywhere in Unicode, as far as this Python knows them."""
    def one():
        code = rng.choice((rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x20000)))
        # Of a capital that is newer, `str.lower` makes no small letter, so open_clip's ids depend on the Python that runs it.
        return chr(code) if unicodedata.category(chr(code)) not in ("Cs", "Cn") else "x"
    return "".join(one() for _ in range(rng.randint(1, 25)))


KINDS_OF_TEXT = {"caption": caption, "mixed": mixed, "damaged": damaged, "escaped": escaped, "noise": noise, "letters": letters}


def texts(kind, count, seed=11):
    """`count` texts of one kind."""
    rng = random.Random(f"{kind} {seed}")
    return [KINDS_OF_TEXT[kind](rng) for _ in range(count)]
