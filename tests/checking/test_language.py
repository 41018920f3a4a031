import pytest

from fastgoal.checking.language import NAMES, guess_language

SENTENCES = {
    "en": "A brown dog lies on the grass, and a red ball is in its mouth.",
    "de": "Ein brauner Hund liegt auf der Wiese und hat einen roten Ball im Maul.",
    "fr": "Un chien brun est couché dans l'herbe avec une balle rouge sur le côté.",
    "es": "Un perro marrón está en la hierba con una pelota roja y los ojos cerrados.",
    "it": "Un cane marrone è nel prato con una palla rossa e gli occhi chiusi della casa.",
    "pt": "Um cão castanho está na relva com uma bola e os olhos fechados, não dorme.",
    "nl": "Een bruine hond ligt op het gras met een rode bal in zijn bek en de zon.",
    "ja": "茶色の犬が芝生の上に横たわっています。",
    "zh": "一只棕色的狗躺在草地上。",
    "ko": "갈색 개가 잔디 위에 누워 있습니다.",
    "ru": "Коричневая собака лежит на траве.",
    "ar": "كلب بني يرقد على العشب.",
    "el": "Ένας σκύλος είναι στο γρασίδι.",
    "he": "כלב חום שוכב על הדשא.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_enough(language):
    assert guess_language(SENTENCES[language]) == language
    assert language in NAMES


@pytest.mark.parametrize("text", ["", "IMG 2041", "dog", "sku-99 ✂ 12 cm", "🙂🙂", "rouge noir blanc"])
def test_without_a_hint_there_is_no_guess(text):
    assert guess_language(text) == "?"


def test_a_foreign_name_does_not_change_the_language():
    assert guess_language("The statue of Пушкин is in the middle of the square, by the trees.") == "en"
