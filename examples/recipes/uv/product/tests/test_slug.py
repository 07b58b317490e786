from slug import slug


def test_words_are_joined():
    assert slug("a b") == "a-b"
