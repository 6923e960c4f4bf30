#!/usr/bin/env bash
# NLTK's WordNet lemmas of a word depend on NLTK's version, not on WordNet's alone.
#
# Guess:    `WordNetLemmatizer().lemmatize(word)` over the same WordNet files gives the same lemma in every release: the rules are WordNet's.
# Seen:     up to 3.8.1 a word without a lemma had its ending cut off again and again until something was a noun: `less` becomes `le`,
#           `possess` `posse`, `needless` `needle`, `assess` `ass`. From 3.9 on rules are applied once, and these words stay.
# Versions: nltk 3.8.1 and 3.10.4. Of 393,932 forms of WordNet 3.0's words, ten differ.
# Hurts:    captions and labels that were made with one release and are compared with another's; `less` is in many captions.
# VL Hub:   has the lemmas of 3.10 (tests/golden/captions.json); VL Hub in Python takes whichever NLTK is installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# A WordNet of a few nouns, in WordNet's own format; the other files are there and empty.
mkdir -p data/corpora/wordnet
for name in lexnames index.sense {index,data}.{noun,verb,adj,adv} {noun,verb,adj,adv}.exc; do : > "data/corpora/wordnet/$name"; done
for noun in ass dog le needle posse; do echo "$noun n 1 0 1 0 00000000" >> data/corpora/wordnet/index.noun; done
for version in 3.8.1 3.10.4; do
    python3 -m venv "$version" && "$version/bin/pip" install --quiet "nltk==$version" || exit 2
    NLTK_DATA="$work/data" "$version/bin/python" - <<'PY' | tee -a seen
import nltk
from nltk.stem import WordNetLemmatizer

lemma = WordNetLemmatizer().lemmatize
print(nltk.__version__, *(lemma(word) for word in ["dogs", "less", "possess", "needless", "assess"]))
PY
done
printf '%s\n' "3.8.1 dog le posse needle ass" "3.10.4 dog less possess needless assess" | cmp - seen || exit 1
