"""What is inside the pages that trireme report writes."""
import html
import json
import re


def data_of(path):
    """The numbers of a page's charts: its JSON."""
    text = open(path, encoding='utf-8').read()
    return json.loads(re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.S).group(1))


def text_of(path):
    """What a reader sees of a page, charts aside."""
    text = open(path, encoding='utf-8').read()
    body = text[text.index('<body>'):]
    body = re.sub(r'<script.*?</script>', '', body, flags=re.S)
    return html.unescape(re.sub(r'<[^>]*>', ' ', body))


def chart(data, title):
    found = [c for c in data['charts'] if c['title'].startswith(title)]
    assert found, f'no chart {title!r} among {[c["title"] for c in data["charts"]]}'
    return found[0]


def axis(data, series, name):
    return dict((choice[0], choice[1]) for choice in data['axes'][series['axis']])[name]
