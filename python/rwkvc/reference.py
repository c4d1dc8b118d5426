# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""RWKV v4, v5.1, v5.2, v6 and v7 inference in plain numpy, in recurrent and in parallel (chunked) form.

Conventions
  T tokens, D model width (n_embd), C attention width (= D in all released models), H heads, N head size, H*N = C,
  F channel-mix width, V vocabulary, L chunk length.
  Weights use the names and shapes of the training checkpoints (".pth" state dict); Linear weights are (out, in).
  Sequences are time-major: activations (T, D), heads (T, H, N).
  Decay is always carried as its natural logarithm, `lw` <= 0, so that the decay factor exp(lw) lies in [0, 1].
  A cumulative log-decay inside a chunk is inclusive (`g_t`, decay applied up to and including token t) or exclusive
  (`e_t = g_{t-1}`, `e_0 = 0`).
Layout of the matrix state S: v5 and v6 use (H, key, value); v7 uses (H, value, key). These are the layouts of the
papers and of the models' own inference code.

Sources: v4 "RWKV: Reinventing RNNs for the Transformer Era" (arXiv 2305.13048); v5/v6 "Eagle and Finch"
(arXiv 2404.05892); v7 "RWKV-7 Goose" (arXiv 2503.14456); checked against BlinkDL/ChatRWKV and RWKV/rwkv.cpp.
"""

import math

import numpy as np

from rwkvc.checkpoint import detect_version

LAYER_NORM_EPS = 1e-5
GROUP_NORM_EPS = 64e-5  # 1e-5 * head_size_divisor**2, head_size_divisor = 8; rwkv.cpp uses 1e-5 for v5
L2_NORM_EPS = 1e-12
V7_DECAY_SCALE = math.exp(-0.5)  # 0.606531: v7's decay never falls below exp(-0.606531) = 0.5452
V4_EMPTY = -1e30  # "minus infinity" of v4's running exponent; -inf itself would give inf - inf


# ---------------------------------------------------------------------------------------------- elementwise blocks


def sigmoid(x):
    """Logistic function, exact at both ends: exp is taken of a non-positive number only."""
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + z), z / (1 + z)).astype(x.dtype)


def silu(x):
    return x * sigmoid(x)


def relu2(x):
    """Squared ReLU, the channel mix's non-linearity."""
    return np.square(np.maximum(x, 0))


def layer_norm(x, weight, bias, eps=LAYER_NORM_EPS):
    """(..., D) -> (..., D), biased variance."""
    c = x - x.mean(-1, keepdims=True)
    return c / np.sqrt(np.square(c).mean(-1, keepdims=True) + x.dtype.type(eps)) * weight + bias


def group_norm(y, weight, bias, eps):
    """Per-head normalisation of (T, H, N), then the affine of width C = H*N. Returns (T, C)."""
    c = y - y.mean(-1, keepdims=True)
    c = c / np.sqrt(np.square(c).mean(-1, keepdims=True) + y.dtype.type(eps))
    return c.reshape(y.shape[0], -1) * weight + bias


def l2_normalize(x, eps=L2_NORM_EPS):
    """x / max(||x||, eps) over the last axis (v7's removal key)."""
    return x / np.maximum(np.sqrt(np.square(x).sum(-1, keepdims=True)), x.dtype.type(eps))


def token_shift(x, last):
    """Previous token's row for every row: (T, D), (D,) -> (T, D). The new shift state is x[-1]."""
    return np.concatenate([last[None], x[:-1]], axis=0)


def lerp(x, shifted, mu):
    """v4/v5 token shift: mu weighs the present token. x*mu + shifted*(1 - mu)."""
    return x * mu + shifted * (1 - mu)


def shift_lerp(x, delta, mu):
    """v6/v7 token shift: mu weighs the previous token. x + (shifted - x)*mu, with delta = shifted - x."""
    return x + delta * mu


def heads(x, H):
    return x.reshape(x.shape[0], H, -1)


# ---------------------------------------------------------------------------------------------- WKV v4 (vector state)


def wkv4_recurrent(k, v, lw, u, state):
    """v4's WKV, one token at a time (arXiv 2305.13048 eq. 16 and the stable form of its appendix D).

    y_t = (sum_{i<t} e^{(t-1-i) lw + k_i} v_i + e^{u + k_t} v_t) / (the same sum without v), per channel.
    k, v: (T, C). lw = -exp(time_decay): (C,). u = time_first: (C,).
    state: (3, C), rows aa (numerator), bb (denominator), pp (their common exponent); both sums are aa*e^pp, bb*e^pp.
    Returns y (T, C) and the new state.
    """
    aa, bb, pp = state
    y = np.empty_like(v)
    for t in range(k.shape[0]):
        q = np.maximum(pp, u + k[t])
        past, now = np.exp(pp - q), np.exp(u + k[t] - q)
        y[t] = (past * aa + now * v[t]) / (past * bb + now)
        q = np.maximum(pp + lw, k[t])
        past, now = np.exp(pp + lw - q), np.exp(k[t] - q)
        aa, bb, pp = past * aa + now * v[t], past * bb + now, q
    return y, np.stack([aa, bb, pp])


def wkv4_combine(x, y):
    """Associative operator of v4's scan. Each side is (d, p, a, b): total log-decay d, exponent p, sums a, b."""
    p = np.maximum(x[1] + y[0], y[1])
    ex, ey = np.exp(x[1] + y[0] - p), np.exp(y[1] - p)
    return x[0] + y[0], p, ex * x[2] + ey * y[2], ex * x[3] + ey * y[3]


def wkv4_scan(k, v, lw, u, state):
    """v4's WKV as an inclusive parallel scan (log2(T) doubling steps) of wkv4_combine. Contract of wkv4_recurrent."""
    T, C = k.shape
    one = np.ones((1, C), k.dtype)
    d = np.concatenate([0 * one, np.broadcast_to(lw, (T, C))])
    elem = (
        d,
        np.concatenate([state[2:3], k]),
        np.concatenate([state[0:1], v]),
        np.concatenate([state[1:2], np.broadcast_to(one, (T, C))]),
    )
    step = 1
    while step <= T:
        joined = wkv4_combine(tuple(x[:-step] for x in elem), tuple(x[step:] for x in elem))
        elem = tuple(np.concatenate([x[:step], j]) for x, j in zip(elem, joined))
        step *= 2
    _, p, a, b = elem  # row t is the state before token t; row T is the final state
    q = np.maximum(p[:-1], u + k)
    past, now = np.exp(p[:-1] - q), np.exp(u + k - q)
    y = (past * a[:-1] + now * v) / (past * b[:-1] + now)
    return y, np.stack([a[-1], b[-1], p[-1]])


def wkv4_chunked(k, v, lw, u, state, chunk=32):
    """v4's WKV as a softmax over the chunk's tokens and the carried state, per channel. Same contract.

    Scores of channel c: D[t, i] = (t-1-i)*lw + k_i for i < t, u + k_t for i = t, and t*lw + pp for the carried state.
    The row maximum is subtracted, so every exponential is <= 1. Work: L*L*C exponentials, no GEMM (weights differ).
    """
    aa, bb, pp = state
    y = np.empty_like(v)
    for s in range(0, k.shape[0], chunk):
        kc, vc = k[s : s + chunk], v[s : s + chunk]
        n = kc.shape[0]
        t = np.arange(n)
        gap = (t[:, None] - 1 - t[None, :])[..., None]
        D = np.where(gap >= 0, gap * lw + kc[None], -np.inf)
        D[t, t] = u + kc
        carried = t[:, None] * lw + pp
        m = np.maximum(D.max(1), carried)
        E, ec = np.exp(D - m[:, None]), np.exp(carried - m)
        y[s : s + n] = (np.einsum("tic,ic->tc", E, vc) + ec * aa) / (E.sum(1) + ec * bb)
        end = (n - 1 - t)[:, None] * lw + kc
        carried = n * lw + pp
        q = np.maximum(end.max(0), carried)
        E, ec = np.exp(end - q), np.exp(carried - q)
        aa, bb, pp = (E * vc).sum(0) + ec * aa, E.sum(0) + ec * bb, q
    return y, np.stack([aa, bb, pp])


# ---------------------------------------------------------------------------------- shared: decayed score matrix


def decayed_scores(q, k, cq, ck, inclusive, sub=16, diagonal="pairwise"):
    """A[h, t, i] = sum_n q[t, n] k[i, n] exp(cq[t, n] - ck[i, n]) for i < t (or i <= t), zero elsewhere.

    q, k, cq, ck: (H, L, N). cq is the query side's cumulative log-decay (in- or exclusive), ck the inclusive one.
    cq and ck may be of a wider type than q and k: only their differences are rounded to the type of q.
    The matrix is cut in sub-blocks of `sub` tokens. An off-diagonal block takes the cumulative decay at the start of its
    rows as reference, so both GEMM factors have exponents <= 0 and cannot overflow, whatever the decay.
    Diagonal blocks: 'pairwise' exponentiates the difference (sub*sub*N exponentials, always safe); 'factored' is a GEMM
    with the reference in the middle of the block, safe while the decay across half a block stays above about e^-80.
    """
    H, L, _ = q.shape
    sub = min(sub or L, L)

    def exp(x):
        return np.exp(x.astype(q.dtype))

    A = np.zeros((H, L, L), q.dtype)
    for s in range(0, L, sub):
        e = min(s + sub, L)
        qb, cqb, kb, ckb = q[:, s:e], cq[:, s:e], k[:, s:e], ck[:, s:e]
        if s:
            ref = ck[:, s - 1 : s]
            A[:, s:e, :s] = (qb * exp(cqb - ref)) @ (k[:, :s] * exp(ref - ck[:, :s])).swapaxes(1, 2)
        keep = np.tril(np.ones((e - s, e - s), bool), 0 if inclusive else -1)
        if diagonal == "pairwise":
            w = exp(np.where(keep[..., None], cqb[:, :, None] - ckb[:, None], -np.inf))
            A[:, s:e, s:e] = np.einsum("htn,hin,htin->hti", qb, kb, w)
        else:
            ref = ckb[:, (e - s - 1) // 2][:, None]
            block = (qb * exp(cqb - ref)) @ (kb * exp(ref - ckb)).swapaxes(1, 2)
            A[:, s:e, s:e] = np.where(keep, block, 0)  # select, not multiply: masked entries may be inf
    return A


def cumulative_decay(lw, dtype=None):
    """(H, L, N) log-decays -> inclusive g and exclusive e cumulative sums over the chunk, in dtype (default: lw's own).

    The forms below exponentiate differences of these sums. Where |lw| is unbounded (v6) the sums can be large while a
    difference is small, so float32 sums lose absolute precision: sum in float64. v7's sums are bounded by 0.607 * L.
    """
    g = np.cumsum(lw, axis=1, dtype=dtype)
    return g, np.concatenate([np.zeros_like(g[:, :1]), g[:, :-1]], axis=1)


# ---------------------------------------------------------------------------------------------- WKV v5 / v6


def wkv6_recurrent(r, k, v, lw, u, S):
    """v5's and v6's WKV, one token at a time (arXiv 2404.05892 section 4.1.2 for v5, 4.2.2 for v6).

    y_t = r_t^T (S_{t-1} + diag(u) k_t v_t^T);  S_t = diag(e^{lw_t}) S_{t-1} + k_t v_t^T.
    r, k, v: (T, H, N). lw: (T, H, N) for v6; (H, N) or (H, 1) for v5 (static). u: (H, N) or (H, 1).
    S: (H, key, value). Returns y (T, H, N) and the new S.
    """
    lw = np.broadcast_to(lw, k.shape)
    y = np.empty_like(v)
    for t in range(r.shape[0]):
        bonus = (r[t] * u * k[t]).sum(-1, keepdims=True)
        y[t] = np.einsum("hk,hkv->hv", r[t], S) + bonus * v[t]
        S = np.exp(lw[t])[..., None] * S + k[t][..., None] * v[t][:, None]
    return y, S


def wkv6_chunked(r, k, v, lw, u, S, chunk=64, sub=16, diagonal="pairwise", cumsum_dtype=np.float64):
    """v5's and v6's WKV in chunks. Same contract as wkv6_recurrent.

    Inside a chunk of L tokens, per head (g inclusive, e exclusive cumulative log-decay):
      A = strict_lower[(r e^e)(k e^-g)^T] + diag(r . (u k))     (L, N) x (N, L), evaluated by decayed_scores
      Y = A V + (r e^e) S                                       (L, L) x (L, N)  and  (L, N) x (N, N)
      S' = diag(e^{g_L}) S + (k e^{g_L - g})^T V                (N, L) x (L, N)
    """
    lw = np.broadcast_to(lw, k.shape)
    y = np.empty_like(v)
    for s in range(0, r.shape[0], chunk):
        rc, kc, vc, wc = (x[s : s + chunk].swapaxes(0, 1) for x in (r, k, v, lw))  # (H, L, N)
        g, e = cumulative_decay(wc, cumsum_dtype)
        A = decayed_scores(rc, kc, e, g, False, sub, diagonal)
        read, write, carry = (np.exp(x.astype(v.dtype)) for x in (e, g[:, -1:] - g, g[:, -1]))
        i = np.arange(A.shape[1])
        A[:, i, i] = (rc * np.broadcast_to(u, kc[:, 0].shape)[:, None] * kc).sum(-1)
        y[s : s + chunk] = (A @ vc + (rc * read) @ S).swapaxes(0, 1)
        S = carry[..., None] * S + (kc * write).swapaxes(1, 2) @ vc
    return y, S


def wkv5_toeplitz(r, k, v, lw, u, S, chunk=64):
    """v5.1's WKV (one static decay per head): the decay mask is a constant (H, L, L) Toeplitz matrix.

    A = (r k^T) * M, M[t, i] = e^{(t-1-i) lw} for i < t, u for i = t. lw, u: (H, 1). Same contract as wkv6_recurrent.
    """
    y = np.empty_like(v)
    for s in range(0, r.shape[0], chunk):
        rc, kc, vc = (x[s : s + chunk].swapaxes(0, 1) for x in (r, k, v))
        n = np.arange(rc.shape[1])
        gap = n[:, None] - 1 - n[None, :]
        M = np.where(gap >= 0, np.exp(np.maximum(gap, 0) * lw[:, :, None]), 0)
        M = np.where(gap == -1, u[:, :, None], M)
        read = np.exp(n * lw)[..., None]  # decay of the carried state seen by token t
        y[s : s + chunk] = (((rc @ kc.swapaxes(1, 2)) * M) @ vc + read * (rc @ S)).swapaxes(0, 1)
        write = np.exp((len(n) - 1 - n) * lw)[..., None]
        S = np.exp(len(n) * lw)[..., None] * S + (kc * write).swapaxes(1, 2) @ vc
    return y, S


# ---------------------------------------------------------------------------------------------- WKV v7


def wkv7_recurrent(r, lw, k, v, a, b, S):
    """v7's WKV, one token at a time: generalised delta rule, diagonal plus rank one (arXiv 2503.14456 section 4.1).

    S_t = S_{t-1} (diag(e^{lw_t}) + a_t b_t^T) + v_t k_t^T;  y_t = S_t r_t,
    with a = -kk (minus the normalised removal key) and b = kk * iclr. The output reads the NEW state.
    All (T, H, N). S: (H, value, key). Returns y (T, H, N) and the new S.
    """
    y = np.empty_like(v)
    for t in range(r.shape[0]):
        sa = np.einsum("hvk,hk->hv", S, a[t])
        S = S * np.exp(lw[t])[:, None] + sa[..., None] * b[t][:, None] + v[t][..., None] * k[t][:, None]
        y[t] = np.einsum("hvk,hk->hv", S, r[t])
    return y, S


def unit_lower_inverse(A, solver="substitution", block=16):
    """(I - A)^-1 for strictly lower triangular A: (H, L, L).

    'substitution': row by row, backward stable. 'block': substitution inside `block`-wide diagonal blocks, merged by
    GEMMs. 'neumann': (I + A)(I + A^2)(I + A^4)..., log2(L) GEMMs, unstable when keys repeat.
    """
    L = A.shape[-1]
    eye = np.eye(L, dtype=A.dtype)
    if solver == "neumann":
        X, P = eye + A, A @ A
        for _ in range(max(0, math.ceil(math.log2(max(L, 2))) - 1)):
            X, P = X + X @ P, P @ P
        return X
    X = np.broadcast_to(eye, A.shape).copy()
    width = L if solver == "substitution" else block
    for s in range(0, L, width):
        e = min(s + width, L)
        for t in range(s + 1, e):
            X[:, t, s:t] = (A[:, t : t + 1, s:t] @ X[:, s:t, s:t])[:, 0]
        if s:
            X[:, s:e, :s] = X[:, s:e, s:e] @ (A[:, s:e, :s] @ X[:, :s, :s])
    return X


def wkv7_chunk_factors(r, lw, k, v, a, b, sub=16, diagonal="factored", solver="block"):
    """Everything of a v7 chunk that does not depend on the carried state; all chunks can do this at once.

    Inputs (H, L, N). With SA (L, N) the rows S_{t-1} a_t:  (I - A_ab) SA = (a e^e) S^T + A_ak V. Hence
      W = (I - A_ab)^-1 (a e^e),   U = (I - A_ab)^-1 A_ak V    and    SA = U + W S^T     (the WY / UT representation).
    Returns a dict: W, U, R = r e^g, Y0 = A_rk V, A_rb, K = k e^{g_L - g}, B = b e^{g_L - g}, G = e^{g_L}.
    """
    g, e = cumulative_decay(lw)
    A_ab = decayed_scores(a, b, e, g, False, sub, diagonal)
    A_ak = decayed_scores(a, k, e, g, False, sub, diagonal)
    A_rk = decayed_scores(r, k, g, g, True, sub, diagonal)
    A_rb = decayed_scores(r, b, g, g, True, sub, diagonal)
    inv = unit_lower_inverse(A_ab, solver)
    to_end = np.exp(g[:, -1:] - g)
    return dict(
        W=inv @ (a * np.exp(e)),
        U=inv @ (A_ak @ v),
        R=r * np.exp(g),
        Y0=A_rk @ v,
        A_rb=A_rb,
        K=k * to_end,
        B=b * to_end,
        G=np.exp(g[:, -1]),
        V=v,
    )


def wkv7_chunked(r, lw, k, v, a, b, S, chunk=64, sub=16, diagonal="factored", solver="block"):
    """v7's WKV in chunks. Same contract as wkv7_recurrent. Per chunk, sequentially over chunks:

    SA = U + W S^T                          (L, N) x (N, N)
    Y  = R S^T + Y0 + A_rb SA               (L, N) x (N, N)  and  (L, L) x (L, N)
    S' = S diag(G) + V^T K + SA^T B         two (N, L) x (L, N)
    """
    y = np.empty_like(v)
    for s in range(0, r.shape[0], chunk):
        c = wkv7_chunk_factors(*(x[s : s + chunk].swapaxes(0, 1) for x in (r, lw, k, v, a, b)), sub, diagonal, solver)
        ST = S.swapaxes(1, 2)
        SA = c["U"] + c["W"] @ ST
        y[s : s + chunk] = (c["R"] @ ST + c["Y0"] + c["A_rb"] @ SA).swapaxes(0, 1)
        S = S * c["G"][:, None] + c["V"].swapaxes(1, 2) @ c["K"] + SA.swapaxes(1, 2) @ c["B"]
    return y, S


def wkv7_chunk_transition(c):
    """A whole v7 chunk as S' = S P + Q, from wkv7_chunk_factors: P (H, key, key), Q (H, value, key).

    (P, Q) compose associatively, (P1, Q1) then (P2, Q2) = (P1 P2, Q1 P2 + Q2): a scan over chunks or over devices.
    """
    N = c["G"].shape[-1]
    P = c["G"][..., None] * np.eye(N, dtype=c["G"].dtype) + c["W"].swapaxes(1, 2) @ c["B"]
    return P, c["V"].swapaxes(1, 2) @ c["K"] + c["U"].swapaxes(1, 2) @ c["B"]


# ---------------------------------------------------------------------------------------------- time mixing
# Each takes the layer's weights p (prefix stripped), x (T, D) after ln1, and the layer state; runs the WKV of `form`
# ('recurrent' or 'parallel'); returns the residual branch (T, D). The state dict is updated in place.


def time_mix_v4(p, x, st, form, chunk, gn_eps):
    """arXiv 2305.13048 section 3.1: static lerp, r/k/v, exponent-tracked WKV, sigmoid receptance."""
    s = token_shift(x, st["att_shift"])
    r = sigmoid(lerp(x, s, p["time_mix_r"]) @ p["receptance.weight"].T)
    k = lerp(x, s, p["time_mix_k"]) @ p["key.weight"].T
    v = lerp(x, s, p["time_mix_v"]) @ p["value.weight"].T
    run = wkv4_recurrent if form == "recurrent" else wkv4_scan
    y, st["wkv"] = run(k, v, p["log_decay"], p["time_first"], st["wkv"])
    return (r * y) @ p["output.weight"].T


def time_mix_v5(p, x, st, form, chunk, gn_eps):
    """arXiv 2404.05892 section 4.1. v5.1: scalar decay and bonus per head, no gate. v5.2: per channel, SiLU gate."""
    H = st["wkv"].shape[0]
    s = token_shift(x, st["att_shift"])
    r, k, v = (
        heads(lerp(x, s, p["time_mix_" + n]) @ p[full + ".weight"].T, H)
        for n, full in (("r", "receptance"), ("k", "key"), ("v", "value"))
    )
    lw, u = p["log_decay"].reshape(H, -1), p["bonus"].reshape(H, -1)
    if form == "recurrent":
        y, st["wkv"] = wkv6_recurrent(r, k, v, lw, u, st["wkv"])
    elif lw.shape[1] == 1:
        y, st["wkv"] = wkv5_toeplitz(r, k, v, lw, u, st["wkv"], chunk)
    else:
        y, st["wkv"] = wkv6_chunked(r, k, v, lw, u, st["wkv"], chunk)
    y = group_norm(y, p["ln_x.weight"], p["ln_x.bias"], gn_eps)
    if "gate.weight" in p:
        y = y * silu(lerp(x, s, p["time_mix_g"]) @ p["gate.weight"].T)
    return y @ p["output.weight"].T


def ddlerp_v6(p, x, delta):
    """v6's data-dependent token shift (arXiv 2404.05892 section 4.2.1). x, delta: (T, D) -> xw, xk, xv, xr, xg.

    One low-rank stage for all five: tanh(x_mix @ time_maa_w1) is (T, 5*R), split in 5, each times its (R, D) matrix.
    """
    z = np.tanh(shift_lerp(x, delta, p["time_maa_x"]) @ p["time_maa_w1"])
    z = z.reshape(x.shape[0], 5, -1).swapaxes(0, 1) @ p["time_maa_w2"]  # (5, T, D)
    return [shift_lerp(x, delta, p["time_maa_" + n] + z[i]) for i, n in enumerate("wkvrg")]


def time_mix_v6(p, x, st, form, chunk, gn_eps):
    """arXiv 2404.05892 section 4.2: ddlerp, data-dependent decay exp(-exp(time_decay + lora(xw)))."""
    H = st["wkv"].shape[0]
    xw, xk, xv, xr, xg = ddlerp_v6(p, x, token_shift(x, st["att_shift"]) - x)
    lw = -np.exp(p["time_decay"] + np.tanh(xw @ p["time_decay_w1"]) @ p["time_decay_w2"])
    args = (
        heads(xr @ p["receptance.weight"].T, H),
        heads(xk @ p["key.weight"].T, H),
        heads(xv @ p["value.weight"].T, H),
        heads(lw, H),
        p["bonus"].reshape(H, -1),
        st["wkv"],
    )
    y, st["wkv"] = wkv6_recurrent(*args) if form == "recurrent" else wkv6_chunked(*args, chunk=chunk)
    y = group_norm(y, p["ln_x.weight"], p["ln_x.bias"], gn_eps)
    return (y * silu(xg @ p["gate.weight"].T)) @ p["output.weight"].T


def time_mix_v7(p, x, st, form, chunk, gn_eps, v_first):
    """arXiv 2503.14456 section 4: static lerp, LoRAs for decay/iclr/value-residual/gate, delta-rule WKV, bonus.

    v_first: layer 0's value (T, C), or None in layer 0. Returns the residual branch and v_first.
    """
    H = st["wkv"].shape[0]
    delta = token_shift(x, st["att_shift"]) - x
    xr, xw, xk, xv, xa, xg = (shift_lerp(x, delta, p["x_" + n]) for n in "rwkvag")
    r, k, v = xr @ p["receptance.weight"].T, xk @ p["key.weight"].T, xv @ p["value.weight"].T
    lw = -x.dtype.type(V7_DECAY_SCALE) * sigmoid(p["w0"] + np.tanh(xw @ p["w1"]) @ p["w2"])
    iclr = sigmoid(p["a0"] + (xa @ p["a1"]) @ p["a2"])  # in-context learning rate, "a"
    gate = sigmoid(xg @ p["g1"]) @ p["g2"]
    if v_first is None:
        v_first = v
    else:
        v = v + (v_first - v) * sigmoid(p["v0"] + (xv @ p["v1"]) @ p["v2"])
    kk = l2_normalize(heads(k * p["k_k"], H))  # removal key, from k before its own scaling
    k = k * (1 + (iclr - 1) * p["k_a"])  # replacement key
    r, lw, k, v, iclr = (heads(z, H) for z in (r, lw, k, v, iclr))
    run = wkv7_recurrent if form == "recurrent" else lambda *z: wkv7_chunked(*z, chunk=chunk)
    y, st["wkv"] = run(r, lw, k, v, -kk, kk * iclr, st["wkv"])
    y = group_norm(y, p["ln_x.weight"], p["ln_x.bias"], gn_eps)
    bonus = (r * k * p["r_k"]).sum(-1, keepdims=True) * v  # after the group norm, before the gate
    return ((y + bonus.reshape(y.shape)) * gate) @ p["output.weight"].T, v_first


# ---------------------------------------------------------------------------------------------- channel mixing


def channel_mix(p, x, st, version):
    """x (T, D) after ln2 -> residual branch (T, D). v4-v6: sigmoid(R xr) * (V relu2(K xk)); v7: V relu2(K xk)."""
    s = token_shift(x, st["ffn_shift"])
    if version == 7:
        return relu2(shift_lerp(x, s - x, p["x_k"]) @ p["key.weight"].T) @ p["value.weight"].T
    if version == 6:
        xk, xr = (shift_lerp(x, s - x, p["time_maa_" + n]) for n in "kr")
    else:
        xk, xr = (lerp(x, s, p["time_mix_" + n]) for n in "kr")
    r = sigmoid(xr @ p["receptance.weight"].T)
    return r * (relu2(xk @ p["key.weight"].T) @ p["value.weight"].T)


# ---------------------------------------------------------------------------------------------- the model


class RWKV:
    """A model of any supported version from its state dict.

    weights: name -> array, names and shapes of the training checkpoint. dtype: float32 or float64.
    Compile-time work done here, in float64: ln0 folded into the embedding table, static decays as logarithms.
    """

    def __init__(self, weights, dtype=np.float32, group_norm_eps=GROUP_NORM_EPS):
        self.major, self.minor = detect_version(weights)
        self.dtype, self.gn_eps = np.dtype(dtype), group_norm_eps
        w = {n: np.asarray(x, np.float64) for n, x in weights.items()}
        self.n_layer = 1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks."))
        self.n_vocab, self.n_embd = w["emb.weight"].shape
        self.emb = layer_norm(w["emb.weight"], w["blocks.0.ln0.weight"], w["blocks.0.ln0.bias"]).astype(dtype)
        self.head = w["head.weight"].astype(dtype)
        self.ln_out = [w["ln_out." + n].astype(dtype) for n in ("weight", "bias")]
        self.blocks = [self._prepare(w, i) for i in range(self.n_layer)]
        att = self.blocks[0]["att"]
        self.n_att = att["output.weight"].shape[1]
        self.n_head = 1 if self.major == 4 else att["r_k" if self.major == 7 else "bonus"].shape[0]

    def _prepare(self, w, i):
        block = {"att": {}, "ffn": {}, "ln1": {}, "ln2": {}}
        prefix = f"blocks.{i}."
        for name, x in w.items():
            part, _, rest = name[len(prefix) :].partition(".") if name.startswith(prefix) else ("", "", "")
            if part in block:
                block[part][rest] = x.reshape(-1) if x.ndim == 3 and x.shape[:2] == (1, 1) else x
        att = block["att"]
        if self.major in (4, 5):
            att["log_decay"] = -np.exp(att.pop("time_decay"))
        elif self.major == 6:
            att["time_decay"] = att["time_decay"].reshape(-1)
        if self.major == 5 and self.minor == 1:
            att["bonus"] = np.exp(att.pop("time_first"))
        elif self.major in (5, 6):
            att["bonus"] = att.pop("time_faaaa")
        return {part: {n: x.astype(self.dtype) for n, x in d.items()} for part, d in block.items()}

    def init_state(self):
        """Per layer: att_shift (D,), ffn_shift (D,), wkv: v4 (3, C); v5/v6 (H, key, value); v7 (H, value, key)."""

        def zeros(*shape):
            return np.zeros(shape, self.dtype)

        N = self.n_att // self.n_head
        state = []
        for _ in range(self.n_layer):
            wkv = zeros(3, self.n_att) if self.major == 4 else zeros(self.n_head, N, N)
            if self.major == 4:
                wkv[2] = V4_EMPTY
            state.append({"att_shift": zeros(self.n_embd), "ffn_shift": zeros(self.n_embd), "wkv": wkv})
        return state

    def forward(self, tokens, state=None, form="parallel", chunk=64):
        """tokens (T,) -> logits (T, V) and the new state. The given state is not modified."""
        state = self.init_state() if state is None else [dict(st) for st in state]
        mix = {4: time_mix_v4, 5: time_mix_v5, 6: time_mix_v6}.get(self.major)
        x, v_first = self.emb[np.asarray(tokens)], None
        for p, st in zip(self.blocks, state):
            z = layer_norm(x, p["ln1"]["weight"], p["ln1"]["bias"])
            if self.major == 7:
                out, v_first = time_mix_v7(p["att"], z, st, form, chunk, self.gn_eps, v_first)
            else:
                out = mix(p["att"], z, st, form, chunk, self.gn_eps)
            st["att_shift"] = z[-1]
            x = x + out
            z = layer_norm(x, p["ln2"]["weight"], p["ln2"]["bias"])
            x = x + channel_mix(p["ffn"], z, st, self.major)
            st["ffn_shift"] = z[-1]
        return layer_norm(x, *self.ln_out) @ self.head.T, state

    def step(self, token, state=None):
        """One decode step: token id, state -> logits (V,), new state. Cost and memory do not depend on the position."""
        logits, state = self.forward([token], state, form="recurrent")
        return logits[0], state

    def forward_token_by_token(self, tokens):
        """step over all tokens: logits (T, V) and the new state. What forward must equal."""
        state, rows = self.init_state(), []
        for t in tokens:
            row, state = self.step(t, state)
            rows.append(row)
        return np.stack(rows), state
