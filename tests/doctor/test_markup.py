"""HTML that cannot be broken out of."""

from tltool.doctor.markup import Markup, joined, tag


def test_text_is_escaped_and_markup_is_not():
    inner = tag("b", "<script>alert('x')</script> & more")
    assert inner == "<b>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more</b>"
    assert tag("p", "1 < 2 ", inner) == f"<p>1 &lt; 2 {inner}</p>"


def test_attributes_are_escaped_and_named():
    made = tag("img", src='x" onerror="alert(1)', class_="a b", http_equiv="c", alt=None)
    assert made == '<img src="x&quot; onerror=&quot;alert(1)" class="a b" http-equiv="c">'


def test_none_is_left_out():
    assert tag("p", None, "text", None) == "<p>text</p>"


def test_joined_elements_stay_markup():
    assert isinstance(joined([tag("p", "a")]), Markup)
    assert tag("div", joined([tag("p", "a"), tag("p", "b")])) == "<div><p>a</p>\n<p>b</p></div>"


def test_what_is_put_together_from_markup_and_text_is_text_again():
    assert tag("p", tag("b", "x") + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"
