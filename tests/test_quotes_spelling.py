"""Signs that cannot be seen, and other spellings of the same signs, do not hide a quote."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ai21_chains._quotes.normalize import normalize
from ai21_chains._quotes.search import cuts_word
from ai21_chains.citations import Citation, RejectedQuote, verify_quote

# Default_Ignorable_Code_Point of Unicode 15, the first and the last of each range.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180f\u200b\u200f\u202a\u202e\u2060\u206f"
    "\u3164\ufe00\ufe0f\ufeff\uffa0\ufff0\ufff8\U0001bca0\U0001bca3\U0001d173\U0001d17a"
    "\U000e0000\U000e0001\U000e0020\U000e007f\U000e0100\U000e01ef\U000e0fff"
)
SENTENCE = "The fee of ten euro is due in May"


def found(quote: str, source: str) -> Citation:
    result = verify_quote(quote, [source])
    assert isinstance(result, Citation), result
    assert source[result.start : result.end] == result.quote
    return result


def refused(quote: str, source: str) -> RejectedQuote:
    result = verify_quote(quote, [source])
    assert isinstance(result, RejectedQuote), result
    return result


@pytest.mark.parametrize("sign", IGNORABLE, ids=lambda sign: f"U+{ord(sign):04X}")
def test_ignorable_signs_are_ignored_wherever_they_stand(sign: str) -> None:
    hidden = SENTENCE.replace("fee", f"f{sign}ee").replace("euro", f"euro{sign}") + sign
    found(SENTENCE, hidden)
    found(hidden, SENTENCE)


@pytest.mark.parametrize(
    ("quote", "source"),
    [
        pytest.param("كتاب محمد جديد هنا", "كتـــاب مُحَمَّد جديد هنا", id="Arabic vowels"),
        pytest.param("בראשית ברא אלהים", "בְּרֵאשִׁית בָּרָא אֱלֹהִים", id="Hebrew points"),
        pytest.param("בָּרָא  אֱלֹהִים", "בְּרֵאשִׁית בָּרָא אֱלֹהִים", id="the same points"),
        pytest.param("שלום לכולם  היום", "\ufb2aלום לכולם היום", id="a letter that has a point"),
        pytest.param("we all  love ❤", "we all love ❤\ufe0f", id="a picture at the end"),
        pytest.param("full width text", "ＦＵＬＬ　width text", id="full width"),
        pytest.param("it costs 51 euro  now", "it costs 𝟓𝟏 euro now", id="digits of another font"),
        pytest.param("istanbul'da yapılan", "İSTANBUL'DA yapılan sözleşme", id="Turkish dotted I"),
        pytest.param("die STRAẞE ist hier", "die Strasse ist hier", id="capital sharp s"),
        pytest.param("三十日内支付.全部费用", "应在三十日内支付。全部费用", id="full stop"),
        pytest.param('"合同"一词是指本文件', "「合同」一词是指本文件", id="corner brackets"),
    ],
)
def test_other_spellings_of_the_same_words_are_found(quote: str, source: str) -> None:
    assert found(quote, source).match == "normalized"


@pytest.mark.parametrize(
    ("quote", "source"),
    [
        pytest.param("كُتَاب محمد جديد هنا", "كِتَاب محمد جديد هنا", id="another vowel"),
        pytest.param("كِتَاب محمد جديد هنا", "كتاب محمد جديد هنا", id="a vowel more"),
        pytest.param("בראשית ברא אלהי", "בְּרֵאשִׁית בָּרָא אֱלֹהִים", id="a letter less"),
        pytest.param("he paid 51 euro to him", "he paid 5① euro to him", id="a circled digit"),
        pytest.param("he paid 52. euro to him", "he paid 5⒉ euro to him", id="a digit with a stop"),
        pytest.param("a fee of [***] is due now", "a fee of $[***] is due now", id="a sign inside"),
        pytest.param("[***] is due on the day", "a fee of $[***] is due on the day", id="$ before"),
        pytest.param("they shall get […***…]", "they shall get […***…]% of it", id="% after"),
    ],
)
def test_another_vowel_or_number_is_refused(quote: str, source: str) -> None:
    found(source, source)
    refused(quote, source)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize(
    "text",
    ["Österreichs Verträge für Ångström", "Việt Nam hợp đồng này", "한국어 계약서입니다",
     "नियम और क़ानून", "Ελλάδα άρθρο ΐ και ᾳ"],
    ids=["German", "Vietnamese", "Korean", "Hindi", "Greek"],
)  # fmt: skip
def test_joined_and_separate_marks_are_the_same(text: str, form: str) -> None:
    other = unicodedata.normalize(form, text)  # type: ignore[arg-type]
    found(other.upper(), text)
    found(text, other)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("the end", False), ("end. A", False), ("(a) b", False), ("un|lawful", True),
        ("1|50", True), ("1,|000", True), ("3|.5", True), ("5|%", True), ("$|5", True),
        ("can|'t", True), ("non-|exclusive", True), ("un-\n|lawful", True), ("un|-\nlawful", True),
        ("cafe|\u0301", True), ("👩|\u200d👧", True), ("不|可以", True), ("合|同", False),
        ("三|十日", True), ("word |next", False), ("word| next", False), ("|word", False),
        ("word|", False), ("\n|word", False), ("a.|b", False),
    ],
)  # fmt: skip
def test_where_a_cut_divides_a_word(text: str, cut: bool) -> None:
    at = text.index("|") if "|" in text else 4
    assert cuts_word(text.replace("|", ""), at) is cut


_SIGNS = st.sampled_from([*"abe ßıİſK.-'’\n1½①,%\u0301\u05bc\u064eשא中。👩", *IGNORABLE])


@given(st.text(_SIGNS, max_size=40))
@example("\u0301a\u0301\u034f\u0301")
@example("-\u00ad\n\U000e0100a")
@settings(max_examples=150)
def test_every_sign_of_the_normal_form_comes_from_the_text_in_order(text: str) -> None:
    normal = normalize(text)
    spans = [normal.span(at, at + 1) for at in range(len(normal.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@given(st.text(_SIGNS, max_size=60), st.text(_SIGNS, max_size=40), st.data())
@settings(max_examples=150)
def test_an_accepted_quote_is_what_stands_at_its_offsets(
    source: str, quote: str, data: st.DataObject
) -> None:
    if source and data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(source) - 1))
        part = source[start : data.draw(st.integers(start, len(source)))]
        quote = data.draw(st.sampled_from([part, part.upper(), normalize(part).text, part + quote]))
    result = verify_quote(quote, ["first", source])
    if isinstance(result, Citation):
        text = ("first", source)[result.document_index]
        assert text[result.start : result.end] == result.quote != ""


@given(st.text(st.sampled_from("aéß ﬁ…\u200bשä"), min_size=120, max_size=200))
@settings(max_examples=20)
def test_many_other_signs_are_exchanged_like_few(text: str) -> None:
    many = "".join(chr(0x4E00 + at) + chr(0xFF21 + at % 26) + chr(0x391 + at) for at in range(40))
    assert normalize(many + text).text == normalize(many).text + normalize(text).text
