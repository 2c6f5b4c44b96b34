#!/usr/bin/env python3
"""Pages of trireme report in headless Chromium: they open, draw and fit; long runs of many ranks within two seconds.

usage: open_pages.py PROGRAM FOLDER      (Debian: chromium python3-websockets)
Writes runs, pages and screenshots to FOLDER.
"""
import asyncio
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from browser import with_tab  # noqa: E402
from made_runs import make_run  # noqa: E402

WIDTHS = [(360, True), (768, False), (1440, False)]
MOST_SECONDS = 2.0  # to open the page of 100,000 steps and 64 ranks


def report(program, *arguments):
    begin = time.monotonic()
    subprocess.run([program, 'report', *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


async def check(tab, page, shots):
    """Opens in light and dark at every width; draws all; no word on the console, no request, nothing beyond the edge."""
    for width, is_phone in WIDTHS:
        for dark in (False, True):
            await tab.open(page, width, 900, dark, is_phone)
            what = f'{page.name} at {width} {"dark" if dark else "light"}'
            assert not tab.problems, f'{what}: {tab.problems}'
            beyond = await tab.ask('document.documentElement.scrollWidth - document.documentElement.clientWidth')
            assert beyond <= 0, f'{what}: {beyond} pixels beyond the edge'
            charts = await tab.ask('JSON.parse(document.getElementById("page-data").textContent).charts.length')
            drawn = await tab.ask('document.querySelectorAll("figure[data-drawn] canvas").length')
            assert charts > 0 and drawn >= charts, f'{what}: {drawn} canvases of {charts} charts'
            inked = await tab.ask('''[...document.querySelectorAll("figure[data-drawn]")].every(f => [...f.querySelectorAll("canvas")].some(c =>
                c.width && c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v)))''')
            assert inked, f'{what}: a chart is blank'
            await tab.screenshot(shots / f'{page.stem}-{width}-{"dark" if dark else "light"}.png')
    await tab.open(page, 1440)
    await tab.pdf(shots / f'{page.stem}.pdf')


async def controls(tab, page):
    """Axis, smoothing, log scale and legend do what they say."""
    await tab.open(page, 1440)
    assert await tab.ask('document.querySelector(".controls").hidden') is False
    change = '''(() => { const s = document.querySelector(".controls select"); s.value = "%s"; s.dispatchEvent(new Event("change"));
        return document.querySelector(".axis-name").textContent; })()'''
    for name in ('tokens', 'hours', 'step'):
        assert await tab.ask(change % name) == name
    smoothed = await tab.ask('''(() => { const s = document.querySelector(".controls input"); s.value = 0.67; s.dispatchEvent(new Event("input"));
        return document.querySelector(".controls output").textContent; })()''')
    assert 0.98 < float(smoothed) < 0.999, smoothed
    for click in ('.switch', 'button.key'):
        pressed = f'document.querySelector("{click}").getAttribute("aria-pressed")'
        before = await tab.ask(pressed)
        await tab.ask(f'document.querySelector("{click}").click()')
        assert await tab.ask(pressed) != before, click
    assert not tab.problems, tab.problems


async def times(tab, page):
    """Seconds from navigation until everything is drawn, three times."""
    seconds = []
    for _ in range(3):
        await tab.open(page, 1440)
        seconds.append(float(await tab.ask('document.documentElement.dataset.ready')) / 1e3)
    return seconds


async def work(tab):
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    make_run('gpt2-124m', 20_000, 64, val_every=500, resumes=(7_000, 15_100), profile=True)
    make_run('gpt2-124m-lr2', 20_000, 64, seed=2, val_every=500, lr=1.2e-3, slow=1.04)
    make_run('mixture', 4_000, 8, seed=3, layers=3, val_every=200)
    make_run('long', 100_000, 64, seed=4, val_every=1_000, resumes=(33_000, 66_000))
    make_run('<img src=x onerror=alert(1)> & "q" ü', 20, 1, seed=5)
    pages = [('gpt2-124m',), ('gpt2-124m', 'gpt2-124m-lr2'), ('mixture',), ('<img src=x onerror=alert(1)> & "q" ü',), ('long',)]
    for number, runs in enumerate(pages):
        made = report(program, *runs, '--out', f'page-{number}.html')
    size = os.path.getsize(f'page-{len(pages) - 1}.html')
    assert size < 4e6, f'the page of the long run has {size} bytes'
    for number in range(len(pages)):
        await check(tab, folder / f'page-{number}.html', folder)
    await controls(tab, folder / 'page-1.html')
    seconds = await times(tab, folder / f'page-{len(pages) - 1}.html')
    assert min(seconds) < MOST_SECONDS, f'the page of 100,000 steps and 64 ranks opens in {seconds} s'
    print(f'{len(pages)} pages at {len(WIDTHS)} widths, light and dark; 100,000 steps x 64 ranks: page of {size / 1e6:.2f} MB made in {made:.1f} s, '
          f'opens in {min(seconds):.2f} s')


asyncio.run(with_tab(work))
