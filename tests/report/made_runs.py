"""Runs as trireme train leaves them, of any length and number of ranks, made up: for pages that no test has the time to train."""
import json
import math
import os
import random


def start_facts(ranks):
    return {'version': 'trireme 0.1.0 (GNU 12.2.0, Release)', 'ranks': ranks, 'hosts': max(1, ranks // 8),
            'layout': f'data {max(1, ranks // 4)} x tensor 2 x pipeline 2 x context 1', 'predicted_bytes': 5_300_000_000,
            'parameters': 124_439_808, 'flops_per_token': 8.5e8}


def expert_loads(step, steps, layers, draw, experts=8):
    for layer in range(layers):
        weights = [math.exp(0.5 * math.exp(-step / (steps * 0.2)) * math.sin(3 * i + layer) + 0.08 * draw.random()) for i in range(experts)]
        load = [weight / sum(weights) for weight in weights]
        yield {'layer': 2 * layer + 1, 'imbalance': max(load) * experts, 'entropy': 0.99, 'dropped': max(0, max(load) * experts - 1.5) * 0.1,
               'dead': 0, 'expert_ms': 3, 'lost_ms': 0.3, 'load': load}


def breakdown(ms, is_late):
    compute, imbalance = ms * 0.71, 13 if is_late else 4
    return {'steps': 10, 'step_ms': ms, 'compute_ms': compute, 'exposed_ms': {'data': ms * 0.05, 'tensor': ms * 0.08, 'pipeline': ms * 0.01},
            'bubble_ms': ms * 0.06, 'data_ms': 0.2, 'imbalance_ms': imbalance, 'optimizer_ms': ms * 0.03, 'checkpoint_ms': 0.4,
            'rest_ms': ms - compute - ms * 0.23 - 0.6 - imbalance}


def rank_times(step, time, ms, ranks, is_late, draw):
    compute = [ms * 0.71 * (1 + 0.01 * math.sin(i * 7)) + draw.gauss(0, 0.5) + (18 if i == 13 and is_late else 0) for i in range(ranks)]
    slowest = max(compute)
    return {'step': step, 'time': time, 'compute_ms': [round(v, 3) for v in compute], 'wait_ms': [round(slowest - v + 20, 3) for v in compute],
            'imbalance_ms': [round(slowest - v, 3) for v in compute], 'mem_bytes': [5_100_000_000] * ranks}


def trace(ranks, micro_batches=8):
    """A step of a pipeline of two stages, in Chrome's format."""
    events, ms = [], 1000
    for rank in range(ranks):
        stage, at = rank % 2, 0.0
        for i in range(2 * micro_batches):
            wait = 4.0 if stage and not i else 0.6
            events.append({'name': 'receive', 'cat': 'pipeline', 'ph': 'X', 'ts': at * ms, 'dur': wait * ms, 'pid': rank, 'tid': 1})
            at += wait
            for name, kind, length in (('matmul', 'products', 2.1), ('attention', 'attention', 1.3), ('norm', 'other ops', 0.5)):
                events.append({'name': name, 'cat': kind, 'ph': 'X', 'ts': at * ms, 'dur': length * ms, 'pid': rank, 'tid': 0})
                at += length
        events.append({'name': 'reduce_scatter', 'cat': 'data', 'ph': 'X', 'ts': at * ms, 'dur': 5 * ms, 'pid': rank, 'tid': 1})
        events.append({'name': 'adamw', 'cat': 'optimizer', 'ph': 'X', 'ts': (at + 5) * ms, 'dur': 3 * ms, 'pid': rank, 'tid': 0})
    return {'traceEvents': events}


def make_run(path, steps, ranks, seed=1, log_every=10, layers=0, val_every=0, resumes=(), lr=6e-4, slow=1.0, profile=False):
    draw, time = random.Random(seed), 1795900000.0
    os.makedirs(path, exist_ok=True)
    events = []

    def happens(step, kind, text, **more):
        events.append({'time': time, 'step': step, 'kind': kind, 'text': text, **more})

    start = start_facts(ranks)
    happens(0, 'start', 'started: ' + start['layout'], **start)
    with open(os.path.join(path, 'metrics.jsonl'), 'w') as metrics, open(os.path.join(path, 'ranks.jsonl'), 'w') as by_rank:
        for step in range(1, steps + 1):
            ms = slow * (180 + 8 * math.sin(step / 900) + draw.gauss(0, 2) + (60 if draw.random() < 0.002 else 0))
            time += ms / 1e3
            if step in resumes:
                happens(step, 'stop', f'ended by SIGUSR1 after step {step}')
                time += 5400
                happens(step, 'resume', f'resumed after step {step}: {start["layout"]}', **start)
            loss = 2.9 + 22.5 * (step + 20) ** -0.42 + draw.gauss(0, 0.05)
            skipped, is_late = draw.random() < 1e-4, step > steps * 0.6
            rate = lr * min(1, step / (steps * 0.02)) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))
            record = {'step': step, 'time': time, 'tokens': step * 524288, 'loss': loss,
                      'grad_norm': None if skipped else 0.35 + 3 / (1 + step / 400) + abs(draw.gauss(0, 0.06)), 'lr': rate, 'step_ms': ms,
                      'tok_s': 524288 / ms * 1e3, 'tflops': 12.1, 'mfu': 0.42 * 180 / ms, 'mfu_sure': draw.random() > 0.01,
                      'mem_bytes': 5_100_000_000, 'loss_scale': 1.0, 'skips': 0}
            if skipped:
                record['skipped'] = True
                happens(step, 'skip', f'step {step}: the loss is {loss:.4f} and the gradient norm inf; skipped')
            if val_every and step % val_every == 0:
                record['val_loss'] = loss + 0.06
                happens(step, 'evaluation', f'validation loss {loss + 0.06:.4f}')
            if layers:
                record['experts'] = list(expert_loads(step, steps, layers, draw))
            if step % log_every == 0 or step == steps:
                record['breakdown'] = breakdown(ms, is_late)
                record['memory'] = {'weights': 1.1e9, 'gradients': 0.5e9, 'optimizer': 1.6e9, 'activations': 1.7e9 + 1e8 * math.sin(step / 700),
                                    'buffers': 0.2e9}
                if ranks > 1:
                    by_rank.write(json.dumps(rank_times(step, time, ms, ranks, is_late, draw)) + '\n')
            if step % max(1, steps // 8) == 0:
                happens(step, 'checkpoint', f'checkpoint {path}/checkpoints/step-{step:08d}; training paused for 112 ms')
            if step == int(steps * 0.62):
                happens(step, 'straggler', 'rank 13 on node-02 is a straggler: in 5 log windows in succession it has computed more than 1.3x as '
                        'long as the median of its pipeline stage, 1.41x in the last')
            metrics.write(json.dumps(record) + '\n')
    happens(steps, 'sample', 'In the beginning was the word, and the word was with the people of the land;\nand they took the stones of the '
            'river, and said one to another: Let us count the days\nof the harvest, for the year is long, and the winter is not yet come.')
    happens(steps, 'end', f'{steps} steps, {steps * 524288:,} tokens')
    with open(os.path.join(path, 'events.jsonl'), 'w') as file:
        file.writelines(json.dumps(event) + '\n' for event in events)
    with open(os.path.join(path, 'config.ini'), 'w') as file:
        file.write(f'[model]\nfamily = gpt2\nlayers = 12\nhidden = 768\n[train]\nsteps = {steps}\nseed = {seed}\nglobal-batch = 512\n'
                   f'[optimizer]\nlr = {lr}\nmin-lr = 6e-5\n')
    if profile:
        with open(os.path.join(path, 'profile.json'), 'w') as file:
            json.dump(trace(min(ranks, 8)), file)
