"""A guess at a caption's language: its script where that says enough, else its most frequent little words.

A heuristic without a model: it knows seven languages in Latin letters, tells other scripts apart but not the languages
written in them, and says nothing about captions with too few little words. It is meant to notice that data is German,
not to sort single captions.
"""

import re
from collections import Counter

UNKNOWN = "?"
"""The guess for a caption that gives no hint."""
NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "ja": "Japanese",
    "zh": "Chinese",
    "ko": "Korean",
    "ru": "a language in Cyrillic",
    "ar": "a language in Arabic script",
    "hi": "a language in Devanagari",
    "el": "Greek",
    "he": "Hebrew",
    "th": "Thai",
    UNKNOWN: "no guess",
}
_WORDS = {
    "en": "the of and is are with on in a an at by its it this that there to from",
    "de": "der die das und ist sind mit auf ein eine einen im am von den dem zu links rechts",
    "fr": "le la les des et est sont avec sur un une dans au aux du il ce cette de",
    "es": "el la los las y es son con en un una del al que se hay de",
    "it": "il lo la gli e è sono con su un una di del della nel nella che sul",
    "pt": "o os as e é são com em um uma do da no na que ao de",
    "nl": "het een en is zijn met op van de in aan er naast links rechts",
}
_LANGUAGES: dict[str, list[str]] = {}
for _language, _words in _WORDS.items():
    for _word in _words.split():
        _LANGUAGES.setdefault(_word, []).append(_language)
_SCRIPTS = {
    "ja": "[\u3040-\u30ff]",
    "zh": "[\u3400-\u4dbf\u4e00-\u9fff]",
    "ko": "[\uac00-\ud7af]",
    "ru": "[\u0400-\u04ff]",
    "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
    "el": "[\u0370-\u03ff]",
    "he": "[\u0590-\u05ff]",
    "th": "[\u0e00-\u0e7f]",
}
_SCRIPT = {language: re.compile(characters) for language, characters in _SCRIPTS.items()}
_WORD = re.compile(r"[^\W\d_]+")
_READ = 2000
"""Characters of a caption that are looked at."""


def guess_language(caption: str) -> str:
    """ISO 639 code of the likely language, `?` without a hint; for Cyrillic, Arabic and Devanagari a stand-in for all
    languages written so."""
    text = caption[:_READ].lower()
    if not text.isascii() and (script := _script(text)):
        return script
    words = _WORD.findall(text)
    votes = Counter(language for word in words for language in _LANGUAGES.get(word, ()))
    best = votes.most_common(2)
    if not best or best[0][1] < max(2, len(words) // 10) or (len(best) > 1 and best[0][1] == best[1][1]):
        return UNKNOWN
    return best[0][0]


def _script(text: str) -> str | None:
    """The script that at least a third of the letters have; some kana among Chinese characters make Japanese."""
    letters = sum(character.isalpha() for character in text)
    found = {language: len(script.findall(text)) for language, script in _SCRIPT.items()}
    if found["ja"] * 10 > found["zh"]:
        found["ja"] += found.pop("zh")
    language = max(found, key=found.__getitem__)
    return language if found[language] * 3 > max(letters, 1) else None
