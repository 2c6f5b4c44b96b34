#!/usr/bin/env python3
"""trireme report on runs that the program has made: whole, resumed, with experts, and damaged; the pages hold their numbers.

usage: run.py PROGRAM MPIRUN
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pages import axis, chart, data_of, text_of  # noqa: E402

program, mpirun = os.path.abspath(sys.argv[1]), sys.argv[2]
HOSTILE = 'a <b>&"\' ü </script><script>alert(1)<'  # a directory's name: all but the slash


def train(ranks, directory, *options, code=0):
    command = [program, 'train', '--data.text', 'text.txt', '--data.valid-fraction', '0.1', '--model.layers', '2', '--model.hidden', '32',
               '--model.heads', '2', '--train.seq-len', '32', '--train.micro-batch', '2', '--train.global-batch', '8', '--train.log-every', '5',
               '--run.threads', '1', '--run.dir', directory, *options]
    if ranks > 1:
        command = [mpirun, '--oversubscribe', '--bind-to', 'none', '-np', str(ranks), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f'exit {done.returncode}, not {code}: {" ".join(command)}\n{done.stdout}{done.stderr}'


def report(*arguments, code=0):
    done = subprocess.run([program, 'report', *arguments], capture_output=True, timeout=60)
    assert done.returncode == code, f'exit {done.returncode}, not {code}: {arguments}\n{done.stdout}{done.stderr}'
    return (done.stdout + done.stderr).decode()


def records(directory, file='metrics.jsonl'):
    return [json.loads(line) for line in open(pathlib.Path(directory) / file, encoding='utf-8')]


def near(a, b):
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def whole_and_resumed():
    """Two attempts are one curve, and what happened is told."""
    options = ['--train.steps', '40', '--train.eval-every', '20', '--checkpoint.every', '10', '--train.sample-tokens', '20']
    train(2, 'runs/one', *options, '--train.stop-after', '23', code=75)
    train(2, 'runs/one', *options, '--resume', '20', '--run.profile-step', '35', '--optimizer.lr', '1e-3')
    kinds = [event['kind'] for event in records('runs/one', 'events.jsonl')]
    assert kinds[0] == 'start' and kinds.count('resume') == 1 and kinds.count('stop') == 1 and kinds[-1] == 'end', kinds
    assert kinds.count('checkpoint') == 4, kinds  # 10, 20, 30, 40; that of 23 belongs to steps that were taken back
    start = records('runs/one', 'events.jsonl')[0]
    assert start['ranks'] == 2 and start['predicted_bytes'] > 0 and start['parameters'] > 0 and 'data 2' in start['layout'], start
    print(report('runs/one'))
    data, words = data_of('runs/one/report.html'), text_of('runs/one/report.html')
    loss = chart(data, 'Loss')
    training, validation = loss['series']
    steps = [record for record in records('runs/one') if 'loss' in record]
    at = axis(data, training, 'step')
    assert [x for x in at if x > 0] == list(range(1, 41)), at
    drawn = dict(zip(at, training['y']))
    assert all(near(drawn[record['step']], record['loss']) for record in steps)
    assert axis(data, validation, 'step') == [0, 20, 40]
    assert axis(data, training, 'tokens')[-1] == steps[-1]['tokens']
    assert {m['name'] for m in loss['marks']} >= {'resumed', 'stopped', 'checkpoint'}
    memory = chart(data, 'Peak memory')
    last = steps[-1]['memory']
    assert [s['name'] for s in memory['series']] == ['weights', 'gradients', 'optimizer', 'activations', 'buffers']
    assert all(near(s['y'][-1], last[s['name']]) for s in memory['series'])
    parts = chart(data, 'Time of a step')['series']
    assert {'compute', 'exposed data', 'load imbalance', 'optimizer', 'rest'} <= {s['name'] for s in parts}
    assert abs(sum(s['y'][-1] for s in parts) / steps[-1]['breakdown']['step_ms'] - 1) < 0.02, 'the parts of a step add up'
    by_rank = chart(data, 'Compute time of a step, by rank')
    last = records('runs/one', 'ranks.jsonl')[-1]['compute_ms']
    columns = len(by_rank['values']) // 2
    assert all(abs(by_rank['values'][(i + 1) * columns - 1] / last[i] - 1) < 1e-3 for i in range(2))
    spans = chart(data, 'Timeline')
    assert spans['rows'] == ['rank 0', 'rank 1'] and len(spans['spans'][0]) > 20
    for word in ('resumed after step 20', 'finished', 'attempt 2: optimizer.lr', 'Samples of text', 'After step 40', 'Summary'):
        assert word in words, f'{word!r} is not in the page'
    before = open('runs/one/report.html', 'rb').read()
    report('runs/one', '--out', 'again.html')
    assert open('again.html', 'rb').read() == before, 'equal runs make equal pages'


def several():
    """Runs over one another, one with a name that is HTML, without validation and with experts."""
    os.makedirs('runs', exist_ok=True)
    train(1, 'runs/' + HOSTILE.replace('/', '-'), '--train.steps', '12', '--train.sample-tokens', '0', '--data.valid-fraction', '0',
          '--moe.experts', '4', '--train.seed', '7')
    hostile = 'runs/' + HOSTILE.replace('/', '-')
    report('runs/one', hostile, '--smooth', '0.9', '--title', 'Two </title><script>')
    page = open('report.html', encoding='utf-8').read()
    assert '</title><script>' not in page and '<b>&' not in page and page.count('</script>') == 3
    data, words = data_of('report.html'), text_of('report.html')
    assert data['smoothing'] == 0.9
    names = [series['name'] for series in chart(data, 'Loss')['series']]
    assert names == ['one', HOSTILE.replace('/', '-'), 'one validation'], names
    assert 'train.seed' in words and '1337' in words
    report(hostile, '--out', 'alone.html')
    words, data = text_of('alone.html'), data_of('alone.html')
    assert 'No validation loss' in words and 'No step was profiled' in words
    load = chart(data, 'Layer 0' if any(c['title'].startswith('Layer 0') for c in data['charts']) else 'Layer 1')
    last = records(hostile)[-1]['experts'][0]['load']
    columns = len(load['values']) // 4
    assert all(abs(load['values'][(i + 1) * columns - 1] - last[i]) < 1e-3 for i in range(4))
    report('runs/one', 'runs/one', '--smooth', '2', code=2)


def damaged():
    """Cut, of Windows, with NaN, empty, and what is no run."""
    lines = open('runs/one/metrics.jsonl', encoding='utf-8').read().splitlines()
    broken = pathlib.Path('runs/broken')
    broken.mkdir()
    text = '\r\n'.join(lines[:20] + ['{"step": 20, "loss": NaN, "tokens": 1}', 'rubbish \x00'] + lines[21:30]) + '\r\n' + lines[31][:40]
    (broken / 'metrics.jsonl').write_text(text, encoding='utf-8')
    (broken / 'events.jsonl').write_bytes(b'{"time":1,"step":3,"kind":"warning","text":"bytes \xff\xfe and \\u0000"}\n{"half')
    said = report('runs/broken')
    assert 'ends within a line' in said and 'damaged' in said, said
    data, words = data_of('runs/broken/report.html'), text_of('runs/broken/report.html')
    assert None in chart(data, 'Loss')['series'][0]['y']
    assert 'config.ini is missing' in words and 'bytes' in words
    empty = pathlib.Path('runs/empty')
    empty.mkdir()
    (empty / 'metrics.jsonl').write_text('')
    report('runs/empty')
    assert 'no steps yet' in text_of('runs/empty/report.html')
    os.makedirs('nothing')
    assert 'has no metrics.jsonl' in report('nothing', code=3)
    assert 'no such directory' in report('runs/none', code=3)
    assert 'which run' in report(code=2)


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    with open('text.txt', 'w') as text_file:
        text_file.writelines(f'Line {i} of a text that a small model learns by heart, again and again.\n' for i in range(400))
    whole_and_resumed()
    several()
    damaged()
print('report: pages of runs hold their numbers')
