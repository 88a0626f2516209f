"""Any text must come out of a real Markdown parser as it went in: no more, no less, nothing linked."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bisect_celery.report import escape
from bisect_celery.report.private import visible

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
GAP = "\u200b"
HOSTILE = st.text(st.sampled_from("`|*_~[]()<>&#@:/\\!$+-=.1aA \"'ghw"), min_size=1, max_size=30)
ONE_LINE = st.one_of(HOSTILE, st.text(min_size=1, max_size=40)).map(lambda text: " ".join(visible(text).split()))
TITLES = [
    "Fix #12 and GH-13, thanks @jane and @acme/devs",
    "see https://github.com/acme/shop/issues/7 or www.example.com",
    "<script>alert(1)</script> <img src=x onerror=y> &lt; &#64;jane",
    "a | b \\| c \\\\| d",
    "# not a heading",
    "1. not a list",
    "- not a list",
    "=== ---",
    "> not a quote",
    "**bold** _it_ __init__ ~~gone~~ snake_case `code`",
    "![img](https://x/y.png) [link](javascript:x) <https://x> [ref][1]",
    "tail \\",
    "``` fence",
    "$x^2$ and $$y$$",
    "---",
    "a@b.example",
]


def shown(markdown: str) -> str:
    """The text a reader sees of the first block, and that it is one plain paragraph."""
    rendered = PARSER.render(markdown).strip()
    assert rendered.startswith("<p>"), rendered
    assert rendered.endswith("</p>"), rendered
    inner = rendered[3:-4]
    assert "<" not in inner, rendered
    return html.unescape(inner).replace(GAP, "")


@pytest.mark.parametrize("title", TITLES)
def test_titles_that_people_really_write(title: str) -> None:
    assert shown(escape.text(title)) == title


@given(text=ONE_LINE)
@settings(max_examples=400)
def test_text_reads_as_it_was(text: str) -> None:
    if text:
        assert shown(escape.text(text)) == text.replace(GAP, "")


@given(text=ONE_LINE)
def test_nothing_that_github_links_is_left_whole(text: str) -> None:
    safe = html.unescape(escape.text(text))
    assert not re.search(r"@\w|#\d|\bGH-\d|://|\bwww\.", safe, re.I)


@given(cells=st.lists(ONE_LINE, min_size=2, max_size=4))
@settings(max_examples=200)
def test_a_cell_stays_a_cell(cells: list[str]) -> None:
    row = "|".join(f" {escape.text(cell)} " for cell in cells)
    head = "|".join("h" for _ in cells)
    rendered = PARSER.render(f"|{head}|\n|{head.replace('h', '---')}|\n|{row}|\n")
    found = re.findall(r"<td>(.*?)</td>", rendered, re.S)
    assert [html.unescape(cell).replace(GAP, "") for cell in found] == [cell.replace(GAP, "") for cell in cells]


@given(text=ONE_LINE)
@settings(max_examples=200)
def test_code_is_one_span_with_the_same_text(text: str) -> None:
    if text:
        rendered = PARSER.render(f"x {escape.code(text)} y").strip()
        found = re.fullmatch(r"<p>x <code>(.*)</code> y</p>", rendered)
        assert found, rendered
        assert html.unescape(found[1]).strip() == text.strip()


@given(text=ONE_LINE)
@settings(max_examples=200)
def test_code_in_a_cell_is_one_cell_with_the_same_text(text: str) -> None:
    if text:
        rendered = PARSER.render(f"|h|i|\n|---|---|\n| {escape.code(text, cell=True)} | end |\n")
        found = re.search(r"<td>(.*)</td>\s*<td>end</td>", rendered, re.S)
        assert found, rendered
        inner = re.fullmatch(r"<code>(.*)</code>", found[1], re.S)
        assert inner, rendered
        assert html.unescape(inner[1]).strip() == text.strip()


@given(lines=st.lists(HOSTILE, max_size=6), language=st.sampled_from(["", "diff"]))
@settings(max_examples=200)
def test_no_line_ends_a_fence(lines: list[str], language: str) -> None:
    rendered = PARSER.render(f"{escape.fence(lines, language)}\n\nafter")
    found = re.fullmatch(r"<pre><code(?: class=\"language-diff\")?>(.*)</code></pre>\n<p>after</p>\n", rendered, re.S)
    assert found, rendered
    assert html.unescape(found[1]) == "\n".join(lines) + "\n"


@given(text=ONE_LINE)
def test_prose_never_leaves_its_paragraph(text: str) -> None:
    rendered = PARSER.render(f"1. {escape.prose(text) or 'x'}\n").replace("<code>", "").replace("</code>", "")
    assert re.fullmatch(r"<ol>\n<li>[^<]*</li>\n</ol>\n", rendered), rendered


def test_prose_shows_code_as_code() -> None:
    assert escape.prose("Take it: `git apply fix.patch`, @you") == "Take it: `git apply fix.patch`, @&#8203;you"
    assert escape.prose("one ` alone") == "one \\` alone"
    assert escape.prose("``a`b`` and `c`") == "``a`b`` and `c`"


def test_clip_says_that_there_was_more() -> None:
    assert escape.clip("abcdef", 6) == "abcdef"
    assert escape.clip("abcdefg", 6) == "abcde…"
