"""GPTQ, AWQ, SmoothQuant, Wanda and SparseGPT as their papers write them, in PyTorch and float64, with this program's rule for scales.

Nothing here is shared with the program: the inverse of the Hessian and its Cholesky factor are those of torch.linalg, and
errors go to later columns by blocks, whole groups each, as there.
"""
import torch

BITS = {"int8": 8, "int4": 4}


def bf16_above(x):
    """The next number of bfloat16 that is not below x >= 0, in fp32; above zero at least 2^-64."""
    bits = x.float().contiguous().view(torch.int32)
    up = ((bits + 0xffff) & ~0xffff).view(torch.float32)
    return torch.where(x > 0, up.clamp(min=2.0**-64), torch.zeros_like(up))


def scale_and_zero(values, bits, symmetric):
    """Of each row of `values` [rows, n], in fp32."""
    values = values.float()
    least, most = values.amin(1).clamp(max=0), values.amax(1).clamp(min=0)
    top = 2**bits - 1
    middle = 2 ** (bits - 1)
    if symmetric:
        return bf16_above(torch.maximum(-least, most) / (top - middle)), torch.full_like(least, middle)
    scale = bf16_above(most / top - least / top)
    return scale, torch.where(scale > 0, torch.round(-least / scale), torch.zeros_like(scale))


def codes_of(values, scale, zero, bits, symmetric):
    """Codes in fp32, and how far each value lies from where its rounding changes, in steps."""
    steps = torch.where(scale > 0, values.double() / scale.double(), torch.zeros(1, dtype=torch.float64))
    in_fp32 = torch.where(scale > 0, values.float() / scale, torch.zeros(1))
    codes = (torch.round(in_fp32) + zero).clamp(1 if symmetric else 0, 2**bits - 1)
    return codes, ((steps - torch.floor(steps)) - 0.5).abs()


def nearest(w, bits, group, symmetric):
    """Codes, scales, zeros and values of groups of neighbouring inputs."""
    group = group or w.shape[1]
    scales, zeros, codes, values = [], [], [], []
    for part in w.split(group, dim=1):
        scale, zero = scale_and_zero(part, bits, symmetric)
        code, _ = codes_of(part, scale[:, None], zero[:, None], bits, symmetric)
        scales.append(scale)
        zeros.append(zero)
        codes.append(code)
        values.append(scale[:, None] * (code - zero[:, None]))
    return torch.cat(codes, 1), torch.stack(scales, 1), torch.stack(zeros, 1), torch.cat(values, 1)


def gptq(w, hessian, bits, group, symmetric, order="as_is", damping=0.01, block=128):
    """arXiv 2210.17323, algorithm 1: codes, scales, zeros, values, distances to ties, and the order of columns."""
    rows, n = w.shape
    per_channel = not group
    group = group or n
    w, h = w.double().clone(), hessian.double().clone()
    diagonal = h.diagonal().clone()
    dead = diagonal == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h.diagonal().add_(damping * diagonal[~dead].mean())
    columns = torch.arange(n)
    if order != "as_is":
        columns = torch.argsort(diagonal, descending=True, stable=True)
    fixed = per_channel or order == "static_groups"
    group_of = torch.empty(n, dtype=torch.long)  # of each input
    if fixed:
        group_of = torch.arange(n) // group
    else:
        group_of[columns] = torch.arange(n) // group
    scales = torch.zeros(rows, (n + group - 1) // group)
    zeros = torch.zeros_like(scales)
    if fixed:
        _, scales, zeros, _ = nearest(w, bits, group, symmetric)

    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h[columns][:, columns]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    work = w[:, columns].clone()
    codes, values, ties = torch.zeros(rows, n), torch.zeros(rows, n), torch.zeros(rows, n, dtype=torch.float64)
    for begin in range(0, n, block):
        end = min(n, begin + block)
        errors = torch.zeros(rows, end - begin, dtype=torch.float64)
        for at in range(begin, end):
            if not fixed and at % group == 0:
                scales[:, at // group], zeros[:, at // group] = scale_and_zero(work[:, at:at + group], bits, symmetric)
            i = columns[at]
            scale, zero = scales[:, group_of[i]], zeros[:, group_of[i]]
            codes[:, i], ties[:, i] = codes_of(work[:, at], scale, zero, bits, symmetric)
            values[:, i] = scale * (codes[:, i] - zero)
            error = (work[:, at] - values[:, i].double()) / factor[at, at]
            work[:, at:end] -= error[:, None] * factor[at, at:end][None, :]
            errors[:, at - begin] = error
        work[:, end:] -= errors @ factor[begin:end, end:]
    return {"codes": codes, "scales": scales, "zeros": zeros, "values": values, "ties": ties, "columns": columns}


def output_error(difference, hessian):
    """tr(D H D^T)."""
    d = difference.double()
    return ((d @ hessian.double()) * d).sum().item()


def awq(weights, hessian, mean_magnitudes, bits, group, symmetric):
    """arXiv 2306.00978, equations 4 and 5, over the published code's grid: scales, exponent, errors of all exponents."""
    best, errors = None, []
    live = mean_magnitudes > 0
    for t in range(20):
        powers = mean_magnitudes.double() ** (t / 20)
        scales = torch.ones_like(powers)
        scales[live] = powers[live] / (powers[live].max() * powers[live].min()).sqrt()
        scales = scales.float()
        error = 0.0
        for w in weights:
            values = nearest(w * scales, bits, group, symmetric)[3].double() / scales.double()
            error += output_error(values - w.double(), hessian)
        errors.append(error)
        if best is None or error < errors[best[1]]:
            best = scales, t
    return best[0], best[1] / 20, errors


def smooth_quant(weights, largest, strength):
    """arXiv 2211.10438, equation 4."""
    w = torch.stack([x.abs().amax(0) for x in weights]).amax(0).double()
    x = largest.double()
    scales = x**strength / w ** (1 - strength)
    return torch.where((x > 0) & (w > 0), scales, torch.ones_like(scales)).float()


def first_of(importance, count):
    """Of each row the `count` entries of least importance, of equal ones the first; and the largest of them."""
    mask = torch.zeros_like(importance, dtype=torch.bool)
    order = torch.sort(importance, dim=1, stable=True)
    if count:
        mask.scatter_(1, order.indices[:, :count], True)
    limit = order.values[:, max(count - 1, 0):max(count, 1)]
    return mask, limit.expand_as(importance)


def least_important(importance, w, sparsity, pattern, whole):
    """Masks of what goes, and how far each entry lies from the last that goes, as a part of it: over each row, the whole
    matrix, or groups of (zeros, of) neighbours. What is zero already goes first."""
    importance = torch.where(w == 0, torch.full_like(importance, -1), importance)
    rows, n = w.shape
    if pattern:
        zeros, of = pattern
        end = n // of * of
        mask, limit = first_of(importance[:, :end].reshape(-1, of), zeros)
        mask, limit = mask.reshape(rows, end), limit.reshape(rows, end)
        mask = torch.cat([mask, torch.zeros(rows, n - end, dtype=torch.bool)], 1)
        limit = torch.cat([limit, torch.full((rows, n - end), -2, dtype=limit.dtype)], 1)
    elif whole:
        mask, limit = first_of(importance.reshape(1, -1), int(sparsity * w.numel()))
        mask, limit = mask.reshape(rows, n), limit.reshape(rows, n)
    else:
        mask, limit = first_of(importance, int(sparsity * n))
    return mask, (importance / limit - 1).abs()


def magnitude(w, sparsity, pattern=None):
    mask, distance = least_important(w.double().abs(), w, sparsity, pattern, True)
    return {"values": torch.where(mask, torch.zeros(1), w), "mask": mask, "ties": distance}


def wanda(w, hessian, sparsity, pattern=None):
    """arXiv 2306.11695, equation 1: |W_ij| * ||X_j||_2, compared within each output."""
    importance = w.double().abs() * hessian.double().diagonal().sqrt()
    mask, distance = least_important(importance, w, sparsity, pattern, False)
    return {"values": torch.where(mask, torch.zeros(1), w), "mask": mask, "ties": distance}


def sparsegpt(w, hessian, sparsity, pattern=None, damping=0.01, block=128):
    """arXiv 2301.00774, algorithm 1: masks of blocks of columns over all rows by w^2 / U_ii^2, or of groups of columns."""
    rows, n = w.shape
    zeros = w == 0
    w, h = w.double().clone(), hessian.double().clone()
    diagonal = h.diagonal().clone()
    dead = diagonal == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    zeros[:, dead] = True
    h.diagonal().add_(damping * diagonal[~dead].mean())
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    mask, ties = zeros.clone(), torch.full((rows, n), float("inf"), dtype=torch.float64)
    size = pattern[1] if pattern else block
    for begin in range(0, n, block):
        end = min(n, begin + block)
        errors = torch.zeros(rows, end - begin, dtype=torch.float64)
        for at in range(begin, end):
            group = slice(at, min(n, at + size))
            if (at - begin) % size == 0 and (not pattern or at + size <= n):
                importance = w[:, group] ** 2 / factor.diagonal()[group] ** 2
                mask[:, group], ties[:, group] = least_important(importance, torch.where(zeros[:, group], 0, w[:, group]), sparsity,
                                                                 pattern, True)
                mask[:, group] |= zeros[:, group]
            kept = torch.where(mask[:, at], 0, w[:, at])
            error = (w[:, at] - kept) / factor[at, at]
            w[:, at:end] -= error[:, None] * factor[at, at:end][None, :]
            w[:, at] = kept
            errors[:, at - begin] = error
        w[:, end:] -= errors @ factor[begin:end, end:]
    return {"values": w.float(), "mask": mask, "ties": ties}
