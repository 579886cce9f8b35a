"""What a reader finds on a page."""

import html
import re


def codes_of(page: str) -> dict[str, str]:
    """Return the texts to copy, to the letter, by their titles."""
    found = re.findall(
        r"<h3><span>(.*?)</span>.*?</h3>\s*<pre tabindex=\"0\"><code>(.*?)</code></pre>", page, flags=re.DOTALL
    )
    return {html.unescape(title): html.unescape(text) for title, text in found}


def sections_of(page: str) -> dict[str, str]:
    """Return the text of each section, without what draws its charts, by its title, in their order."""
    parts = re.split(r"<section id=\"[^\"]*\">\s*<h2>(.*?) <a", page.split("</main>")[0], flags=re.DOTALL)
    without = [re.sub(r"<script.*?</script>", "", part, flags=re.DOTALL) for part in parts[2::2]]
    texts = [html.unescape(re.sub(r"<[^>]*>", " ", part)) for part in without]
    return dict(zip(map(html.unescape, parts[1::2]), texts, strict=True))
