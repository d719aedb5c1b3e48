"""Table 1's simple net in PyTorch, with kernels of its own in Triton that train many networks at
once on one GPU.

All members share each kernel launch; TF32 in the products, float32 everywhere else. Imported by
train.py, which says what it is for.
"""

import numpy as np
import torch
import triton
import triton.language as tl

SGD, RMSPROP, ADAM = range(3)
# optimizer, lr, decay a step, share of a side that an image is shifted by; plain: no augmentation
RECIPES = {
    "sgd": (SGD, 0.01, 1e-6, 0.2),
    "plain": (SGD, 0.01, 1e-6, 0.0),
    "adam": (ADAM, 1e-3, 0.0, 0.2),
    "adam_plain": (ADAM, 1e-3, 0.0, 0.0),
    "keras_cnn": (RMSPROP, 1e-4, 1e-6, 0.1),
    "keras_cnn_plain": (RMSPROP, 1e-4, 1e-6, 0.0),
}
LOG_BETA1, LOG_BETA2 = tl.constexpr(np.log(0.9)), tl.constexpr(np.log(0.999))
BATCH, LONGEST = 32, 80_000  # images a step, and the most that an epoch may have
SHAPES = [
    (27, 32),
    (32,),
    (288, 32),
    (32,),
    (288, 64),
    (64,),
    (576, 64),
    (64,),
    (2304, 512),
    (512,),
    (512, 10),
    (10,),
]
OFFSETS = np.cumsum([0] + [int(np.prod(s)) for s in SHAPES]).tolist()
W1, _, W2, _, W3, _, W4, _, W5, B5, W6, B6, LENGTH = OFFSETS
SIZE = (
    -(-LENGTH // 16) * 16
)  # of a member's flat weights: each layer's kernel [taps * in, out], then its bias
# fastest on an H100: tile of pixels, warps, stages; grad: rows, pixels at once, pixels in all,
# warps, stages
CONFIG = {
    "conv1": (128, 8, 1),
    "conv2": (128, 4, 1),
    "conv3": (128, 4, 1),
    "conv4": (256, 8, 2),
    "back2": (128, 8, 2),
    "back3": (128, 8, 2),
    "back4": (128, 8, 2),
    "grad1": (32, 128, 2048, 4, 2),
    "grad2": (64, 64, 1792, 4, 1),
    "grad3": (32, 128, 1024, 4, 2),
    "grad4": (32, 64, 1408, 4, 3),
}


@triton.jit
def augment(
    images,
    index,
    x,
    shift,
    seeds,
    base,
    step,
    limit,
    x_stride,
    longest,
    B: tl.constexpr,
    TRAIN: tl.constexpr,
):
    """One image of the batch:

    Shifted bilinearly, edges repeated, mirrored (where shifted), rounded, / 255; x has a border of
    zeros.
    """
    m = tl.program_id(1).to(tl.int64)
    s = tl.load(step)
    if s >= tl.load(limit + m):
        return
    b = tl.program_id(0)
    image = images + tl.load(index + m * longest + s * B + b).to(tl.int64) * 3072
    e = tl.arange(0, 1024)
    i, j = e // 32, e % 32
    down, right = 0.0, 0.0
    if TRAIN:
        seed = tl.load(seeds + m) + (tl.load(base + m) + s) * 4
        reach = tl.load(shift + m) * 64
        down = (tl.rand(seed, 3 * b) - 0.5) * reach
        right = (tl.rand(seed, 3 * b + 1) - 0.5) * reach
        j = tl.where((tl.rand(seed, 3 * b + 2) < 0.5) & (reach > 0), 31 - j, j)
    y, z = tl.floor(-down), tl.floor(-right)
    fy, fz = -down - y, -right - z
    top, left = i + y.to(tl.int32), j + z.to(tl.int32)
    y0, y1 = tl.minimum(tl.maximum(top, 0), 31) * 96, tl.minimum(tl.maximum(top + 1, 0), 31) * 96
    z0, z1 = tl.minimum(tl.maximum(left, 0), 31) * 3, tl.minimum(tl.maximum(left + 1, 0), 31) * 3
    out = x + m * x_stride + ((b * 34 + i + 1) * 34 + e % 32 + 1) * 3
    for c in tl.static_range(3):
        v00, v10 = (
            tl.load(image + y0 + z0 + c).to(tl.float32),
            tl.load(image + y1 + z0 + c).to(tl.float32),
        )
        v01, v11 = (
            tl.load(image + y0 + z1 + c).to(tl.float32),
            tl.load(image + y1 + z1 + c).to(tl.float32),
        )
        v0, v1 = v00 + fy * (v10 - v00), v01 + fy * (v11 - v01)
        tl.store(out + c, tl.floor(v0 + fz * (v1 - v0) + 0.5) / 255)


@triton.jit
def conv(
    x,
    w,
    bias,
    out,
    step,
    limit,
    pixels,
    x_stride,
    out_stride,
    size,
    H: tl.constexpr,
    S: tl.constexpr,
    PAD: tl.constexpr,
    CI: tl.constexpr,
    CO: tl.constexpr,
    BACK: tl.constexpr,
    MASK: tl.constexpr,
    BM: tl.constexpr,
):
    """3x3 over x [B, H, H, CI] to out [B, S, S, CO], with ReLU

    BACK: the gradient of one, by out's old sign if MASK.
    """
    m = tl.program_id(1).to(tl.int64)
    if tl.load(step) >= tl.load(limit + m):
        return
    x += m * x_stride
    w += m * size
    out += m * out_stride
    p = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.arange(0, CO)
    inside = p < pixels
    b, y, z = p // (S * S), p // S % S - PAD, p % S - PAD
    acc = tl.zeros([BM, CO], tl.float32)
    if CI == 3:
        k = tl.arange(0, 32)
        rows = ((b * H + y) * H + z) * 3
        taps = (k // 9 * H + k // 3 % 3) * 3 + k % 3
        a = tl.load(
            x + rows[:, None] + taps[None, :], mask=inside[:, None] & (k < 27)[None, :], other=0.0
        )
        f = tl.load(w + k[:, None] * CO + n[None, :], mask=(k < 27)[:, None], other=0.0)
        acc = tl.dot(a, f, acc)
    else:
        k = tl.arange(0, CI)
        for t in range(9):
            i, j = y + t // 3, z + t % 3
            ok = inside
            if PAD > 0:
                ok = inside & (i >= 0) & (i < H) & (j >= 0) & (j < H)
            a = tl.load(
                x + ((b * H + i) * H + j)[:, None] * CI + k[None, :], mask=ok[:, None], other=0.0
            )
            if BACK:
                f = tl.load(w + (8 - t) * CI * CO + n[None, :] * CI + k[:, None])
            else:
                f = tl.load(w + t * CI * CO + k[:, None] * CO + n[None, :])
            acc = tl.dot(a, f, acc)
    here = out + p[:, None] * CO + n[None, :]
    if MASK:
        acc = tl.where(tl.load(here, mask=inside[:, None], other=0.0) > 0, acc, 0.0)
    if not BACK:
        acc = tl.maximum(acc + tl.load(bias + m * size + n)[None, :], 0.0)
    tl.store(here, acc, mask=inside[:, None])


@triton.jit
def conv_grad(
    x,
    d,
    g,
    step,
    limit,
    pixels,
    x_stride,
    d_stride,
    size,
    H: tl.constexpr,
    S: tl.constexpr,
    CI: tl.constexpr,
    CO: tl.constexpr,
    BR: tl.constexpr,
    BP: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Adds the gradient of rows of a kernel [9 CI, CO], and of the bias as its row 9 CI, over a
    chunk of pixels.
    """
    m = tl.program_id(2).to(tl.int64)
    if tl.load(step) >= tl.load(limit + m):
        return
    x += m * x_stride
    d += m * d_stride
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    n = tl.arange(0, CO)
    taps = (r // (3 * CI) * H + r // CI % 3) * CI + r % CI
    one = tl.where(r == 9 * CI, 1.0, 0.0)
    acc = tl.zeros([BR, CO], tl.float32)
    for s in range(0, CHUNK, BP):
        p = tl.program_id(1) * CHUNK + s + tl.arange(0, BP)
        inside = p < pixels
        rows = ((p // (S * S) * H + p // S % S) * H + p % S) * CI
        a = tl.load(
            x + rows[:, None] + taps[None, :],
            mask=inside[:, None] & (r < 9 * CI)[None, :],
            other=0.0,
        )
        v = tl.load(d + p[:, None] * CO + n[None, :], mask=inside[:, None], other=0.0)
        acc = tl.dot(tl.trans(a + one[None, :]), v, acc)
    tl.atomic_add(
        g + m * size + r[:, None] * CO + n[None, :], acc, mask=(r <= 9 * CI)[:, None], sem="relaxed"
    )


@triton.jit
def pool(
    a,
    p,
    seeds,
    base,
    step,
    limit,
    count,
    a_stride,
    p_stride,
    H: tl.constexpr,
    S: tl.constexpr,
    C: tl.constexpr,
    PAD: tl.constexpr,
    RATE: tl.constexpr,
    LAYER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The largest of each 2x2 of a [B, H, H, C], dropped out, into p [B, S + 2 PAD, S + 2 PAD, C]."""
    m = tl.program_id(1).to(tl.int64)
    s = tl.load(step)
    if s >= tl.load(limit + m):
        return
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = e < count
    b, i, j, c = e // (S * S * C), e // (S * C) % S, e // C % S, e % C
    at = a + m * a_stride + ((b * H + 2 * i) * H + 2 * j) * C + c
    v = tl.maximum(tl.load(at, mask=inside), tl.load(at + C, mask=inside))
    v = tl.maximum(
        v, tl.maximum(tl.load(at + H * C, mask=inside), tl.load(at + H * C + C, mask=inside))
    )
    if RATE > 0:
        seed = tl.load(seeds + m) + (tl.load(base + m) + s) * 4 + LAYER
        v = tl.where(tl.rand(seed, e) < RATE, 0.0, v / (1 - RATE))
    tl.store(
        p + m * p_stride + ((b * (S + 2 * PAD) + i + PAD) * (S + 2 * PAD) + j + PAD) * C + c,
        v,
        mask=inside,
    )


@triton.jit
def unpool(
    a,
    p,
    d,
    step,
    limit,
    count,
    a_stride,
    p_stride,
    d_stride,
    H: tl.constexpr,
    S: tl.constexpr,
    C: tl.constexpr,
    PAD: tl.constexpr,
    RATE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """In place of a:

    The loss's gradient before its ReLU, from d [B, S, S, C], the gradient of p (pool).
    """
    m = tl.program_id(1).to(tl.int64)
    if tl.load(step) >= tl.load(limit + m):
        return
    U: tl.constexpr = (H + 1) // 2  # windows along a side, the cut ones too
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = e < count
    b, i, j, c = e // (U * U * C), e // (U * C) % U, e // C % U, e % C
    whole = inside & (i < S) & (j < S)
    kept = (
        tl.load(
            p + m * p_stride + ((b * (S + 2 * PAD) + i + PAD) * (S + 2 * PAD) + j + PAD) * C + c,
            mask=whole,
            other=0.0,
        )
        > 0
    )
    g = tl.load(d + m * d_stride + ((b * S + i) * S + j) * C + c, mask=whole, other=0.0)
    g = tl.where(kept, g / (1 - RATE), 0.0)
    at = a + m * a_stride + ((b * H + 2 * i) * H + 2 * j) * C + c
    right, below = inside & (2 * j + 1 < H), inside & (2 * i + 1 < H)
    v0, v1 = tl.load(at, mask=inside, other=0.0), tl.load(at + C, mask=right, other=0.0)
    v2, v3 = (
        tl.load(at + H * C, mask=below, other=0.0),
        tl.load(at + H * C + C, mask=right & below, other=0.0),
    )
    first, second, third = (v0 >= v1) & (v0 >= v2) & (v0 >= v3), (v1 >= v2) & (v1 >= v3), v2 >= v3
    tl.store(at, tl.where(first, g, 0.0), mask=inside)
    tl.store(at + C, tl.where(second & ~first, g, 0.0), mask=right)
    tl.store(at + H * C, tl.where(third & ~first & ~second, g, 0.0), mask=below)
    tl.store(at + H * C + C, tl.where(first | second | third, 0.0, g), mask=right & below)


@triton.jit
def hidden(z, bias, seed, b, k, RATE: tl.constexpr):
    at = b[:, None] * 512 + k[None, :]
    h = tl.maximum(tl.load(z + at) + tl.load(bias + k)[None, :], 0.0)
    if RATE > 0:
        h = tl.where(tl.rand(seed, at) < RATE, 0.0, h / (1 - RATE))
    return h


@triton.jit
def head(
    z,
    dz,
    targets,
    prior,
    bias5,
    w6,
    bias6,
    g5,
    g6,
    gb6,
    losses,
    seeds,
    base,
    step,
    limit,
    longest,
    size,
    B: tl.constexpr,
    RATE: tl.constexpr,
):
    """From the dense layer's product z [B, 512] to the mean loss of softmax(logits + prior) and
    back to dz.
    """
    m = tl.program_id(0).to(tl.int64)
    s = tl.load(step)
    if s >= tl.load(limit + m):
        return
    seed = tl.load(seeds + m) + (tl.load(base + m) + s) * 4 + 3
    z += m * B * 512
    dz += m * B * 512
    bias5 += m * size
    w6 += m * size
    b, n, q = tl.arange(0, B), tl.arange(0, 16), tl.arange(0, 64)
    logits = tl.zeros([B, 16], tl.float32)
    for k0 in range(0, 512, 64):
        f = tl.load(w6 + (k0 + q)[:, None] * 10 + n[None, :], mask=(n < 10)[None, :], other=0.0)
        logits = tl.dot(hidden(z, bias5, seed, b, k0 + q, RATE), f, logits, input_precision="ieee")
    extra = tl.load(bias6 + m * size + n, mask=n < 10, other=0.0) + tl.load(prior + m * 16 + n)
    logits = tl.where((n < 10)[None, :], logits + extra[None, :], -1e30)
    shifted = logits - tl.max(logits, 1)[:, None]
    total = tl.sum(tl.exp(shifted), 1)
    true = tl.load(targets + m * longest + s * B + b)[:, None] == n[None, :]
    loss = tl.sum(tl.log(total) - tl.sum(tl.where(true, shifted, 0.0), 1), 0) / B
    tl.store(losses + m, tl.load(losses + m) + loss)
    d = (tl.exp(shifted) / total[:, None] - tl.where(true, 1.0, 0.0)) / B
    tl.store(gb6 + m * size + n, tl.sum(d, 0), mask=n < 10)
    for k0 in range(0, 512, 64):
        h = hidden(z, bias5, seed, b, k0 + q, RATE)
        f = tl.load(w6 + (k0 + q)[None, :] * 10 + n[:, None], mask=(n < 10)[:, None], other=0.0)
        back = tl.where(h > 0, tl.dot(d, f, input_precision="ieee") / (1 - RATE), 0.0)
        tl.store(dz + b[:, None] * 512 + (k0 + q)[None, :], back)
        tl.store(g5 + m * size + k0 + q, tl.sum(back, 0))
        grad = tl.dot(tl.trans(h), d, input_precision="ieee")
        tl.store(g6 + m * size + (k0 + q)[:, None] * 10 + n[None, :], grad, mask=(n < 10)[None, :])


@triton.jit
def update(w, state, square, g, kind, rate, decay, base, step, limit, size, BLOCK: tl.constexpr):
    """Keras's SGD with momentum 0.9, Keras 2.2.4's RMSprop, or Keras's Adam; then the gradient is
    zero again.
    """
    m = tl.program_id(1).to(tl.int64)
    s = tl.load(step)
    if s >= tl.load(limit + m):
        return
    at = m * size + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK) < size
    old, v, grad = (
        tl.load(w + at, mask=inside),
        tl.load(state + at, mask=inside),
        tl.load(g + at, mask=inside),
    )
    lr = tl.load(rate + m) / (1.0 + tl.load(decay + m) * (tl.load(base + m) + s).to(tl.float32))
    optimizer = tl.load(kind + m)
    if optimizer == 0:
        v = 0.9 * v - lr * grad
        new = old + v
    elif optimizer == 1:
        v = 0.9 * v + 0.1 * grad * grad
        new = old - lr * grad / (tl.sqrt(v) + 1e-7)
    else:
        v = 0.9 * v + 0.1 * grad
        u = 0.999 * tl.load(square + at, mask=inside) + 0.001 * grad * grad
        t = (tl.load(base + m) + s + 1).to(tl.float32)
        scale = tl.sqrt(1 - tl.exp(t * LOG_BETA2)) / (1 - tl.exp(t * LOG_BETA1))
        new = old - lr * scale * v / (tl.sqrt(u) + 1e-7)
        tl.store(square + at, u, mask=inside)
    tl.store(state + at, v, mask=inside)
    tl.store(w + at, new, mask=inside)
    tl.store(g + at, tl.zeros([BLOCK], tl.float32), mask=inside)


class Network:
    """M networks side by side.

    Args:
        images: [n, 32, 32, 3] uint8 on the device.
        members: (one of RECIPES, seed) of each.
        drop: the three dropout rates.
    """

    def __init__(self, images, members, drop=(0.25, 0.25, 0.5), config=CONFIG):
        self.images, self.drop, self.config, self.device = images, drop, config, images.device
        self.m = m = len(members)
        full = lambda values, dtype: torch.tensor(values, dtype=dtype, device=self.device)  # noqa: E731
        recipes = [recipe for recipe, _ in members]
        self.kind, self.rate = (
            full([r[0] for r in recipes], torch.int32),
            full([r[1] for r in recipes], torch.float32),
        )
        self.decay, self.shift = (
            full([r[2] for r in recipes], torch.float32),
            full([r[3] for r in recipes], torch.float32),
        )
        self.seeds = full(
            [int(np.random.default_rng([seed, 3]).integers(2**62)) for _, seed in members],
            torch.int64,
        )
        self.base, self.step, self.limit = (full([0] * k, torch.int32) for k in (m, 1, m))
        self.prior, self.losses = (
            full([[0.0] * 16] * m, torch.float32),
            full([0.0] * m, torch.float32),
        )
        self.index, self.targets = (
            torch.zeros(m, LONGEST, dtype=torch.int32, device=self.device) for _ in range(2)
        )
        self.weights = torch.zeros(m, SIZE, device=self.device)
        self.state, self.square, self.grads = (torch.zeros_like(self.weights) for _ in range(3))
        for weights, (_, seed) in zip(self.weights, members, strict=True):
            weights.copy_(torch.from_numpy(initial(seed)))
        self.train, self.test, self.graph = self._buffers(BATCH), None, None

    def _buffers(self, batch):
        new = lambda *shape: torch.zeros(self.m, batch, *shape, device=self.device)  # noqa: E731
        shapes = {
            "x": (34, 34, 3),
            "a1": (32, 32, 32),
            "a2": (30, 30, 32),
            "p1": (17, 17, 32),
            "a3": (15, 15, 64),
            "a4": (13, 13, 64),
        }
        shapes |= {"p2": (2304,), "z": (512,), "dz": (512,), "dp2": (2304,), "dp1": (15, 15, 32)}
        return {name: new(*shape) for name, shape in shapes.items()}

    def _conv(
        self, name, x, out, offset, steps, H, S, CI, CO, pad=0, back=False, mask=False, shared=False
    ):
        block, warps, stages = self.config[name]
        pixels = x.shape[1] * S * S
        conv[(triton.cdiv(pixels, block), self.m)](
            x,
            self.weights[:, offset:],
            self.weights[:, offset + 9 * CI * CO :],
            out,
            *steps,
            pixels,
            0 if shared else x.stride(0),
            out.stride(0),
            SIZE,
            H=H,
            S=S,
            PAD=pad,
            CI=CI,
            CO=CO,
            BACK=back,
            MASK=mask,
            BM=block,
            num_warps=warps,
            num_stages=stages,
        )

    def _conv_grad(self, name, x, d, offset, H, S, CI, CO):
        rows, block, chunk, warps, stages = self.config[name]
        pixels = BATCH * S * S
        conv_grad[(triton.cdiv(9 * CI + 1, rows), triton.cdiv(pixels, chunk), self.m)](
            x,
            d,
            self.grads[:, offset:],
            self.step,
            self.limit,
            pixels,
            x.stride(0),
            d.stride(0),
            SIZE,
            H=H,
            S=S,
            CI=CI,
            CO=CO,
            BR=rows,
            BP=block,
            CHUNK=chunk,
            num_warps=warps,
            num_stages=stages,
        )

    def _pool(self, a, p, steps, H, S, C, pad, rate, layer):
        count = a.shape[1] * S * S * C
        pool[(triton.cdiv(count, 1024), self.m)](
            a,
            p,
            self.seeds,
            self.base,
            *steps,
            count,
            a.stride(0),
            p.stride(0),
            H=H,
            S=S,
            C=C,
            PAD=pad,
            RATE=rate,
            LAYER=layer,
            BLOCK=1024,
        )

    def _unpool(self, a, p, d, H, S, C, pad, rate):
        count = BATCH * ((H + 1) // 2) ** 2 * C
        unpool[(triton.cdiv(count, 1024), self.m)](
            a,
            p,
            d,
            self.step,
            self.limit,
            count,
            a.stride(0),
            p.stride(0),
            d.stride(0),
            H=H,
            S=S,
            C=C,
            PAD=pad,
            RATE=rate,
            BLOCK=1024,
        )

    def _forward(self, u, steps, index, drop, train):
        x, batch = u["x"], u["x"].shape[1]
        augment[(batch, self.m if train else 1)](
            self.images,
            index,
            x,
            self.shift,
            self.seeds,
            self.base,
            *steps,
            x.stride(0),
            LONGEST,
            B=batch,
            TRAIN=train,
        )
        self._conv("conv1", x, u["a1"], W1, steps, 34, 32, 3, 32, shared=not train)
        self._conv("conv2", u["a1"], u["a2"], W2, steps, 32, 30, 32, 32)
        self._pool(u["a2"], u["p1"], steps, 30, 15, 32, 1, drop[0], 1)
        self._conv("conv3", u["p1"], u["a3"], W3, steps, 17, 15, 32, 64)
        self._conv("conv4", u["a3"], u["a4"], W4, steps, 15, 13, 64, 64)
        self._pool(u["a4"], u["p2"], steps, 13, 6, 64, 0, drop[1], 2)
        torch.bmm(u["p2"], self._dense(self.weights), out=u["z"])

    def _dense(self, flat):
        return flat[:, W5:B5].view(self.m, 2304, 512)

    def train_step(self):
        """One step of every member whose limit is not reached."""
        u, steps = self.train, (self.step, self.limit)
        self._forward(u, steps, self.index, self.drop, True)
        w, g = self.weights, self.grads
        head[(self.m,)](
            u["z"],
            u["dz"],
            self.targets,
            self.prior,
            w[:, B5:],
            w[:, W6:],
            w[:, B6:],
            g[:, B5:],
            g[:, W6:],
            g[:, B6:],
            self.losses,
            self.seeds,
            self.base,
            *steps,
            LONGEST,
            SIZE,
            B=BATCH,
            RATE=self.drop[2],
        )
        torch.bmm(u["p2"].transpose(1, 2), u["dz"], out=self._dense(g))
        torch.bmm(u["dz"], self._dense(w).transpose(1, 2), out=u["dp2"])
        self._unpool(u["a4"], u["p2"], u["dp2"], 13, 6, 64, 0, self.drop[1])
        self._conv_grad("grad4", u["a3"], u["a4"], W4, 15, 13, 64, 64)
        self._conv(
            "back4", u["a4"], u["a3"], W4, steps, 13, 15, 64, 64, pad=2, back=True, mask=True
        )
        self._conv_grad("grad3", u["p1"], u["a3"], W3, 17, 15, 32, 64)
        self._conv("back3", u["a3"], u["dp1"], W3, steps, 15, 15, 64, 32, pad=1, back=True)
        self._unpool(u["a2"], u["p1"], u["dp1"], 30, 15, 32, 1, self.drop[0])
        self._conv_grad("grad2", u["a1"], u["a2"], W2, 32, 30, 32, 32)
        self._conv(
            "back2", u["a2"], u["a1"], W2, steps, 30, 32, 32, 32, pad=2, back=True, mask=True
        )
        self._conv_grad("grad1", u["x"], u["a1"], W1, 34, 32, 3, 32)
        update[(triton.cdiv(SIZE, 1024), self.m)](
            w,
            self.state,
            self.square,
            g,
            self.kind,
            self.rate,
            self.decay,
            self.base,
            *steps,
            SIZE,
            BLOCK=1024,
        )
        self.step += 1

    def run(self, steps):
        """That many steps, from one captured graph on a GPU."""
        if self.device.type != "cuda":
            for _ in range(steps):
                self.train_step()
            return
        if self.graph is None:
            self.limit.zero_()  # compiles every kernel, and changes nothing
            self.train_step()
            self.grads.zero_()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                for _ in range(10):
                    self.train_step()
        for _ in range(-(-steps // 10)):
            self.graph.replay()

    def epoch(self, samples):
        """Trains on each member's samples:

        (index [k], targets [k]), in order; the last incomplete batch is left out.
        """
        limits = [len(index) // BATCH for index, _ in samples]
        if self.device.type == "cuda" and self.graph is None:
            self.run(0)
        for m, (index, targets) in enumerate(samples):
            self.index[m, : len(index)] = torch.from_numpy(index.astype(np.int32)).to(self.device)
            self.targets[m, : len(index)] = torch.from_numpy(targets.astype(np.int32)).to(
                self.device
            )
        self.limit.copy_(torch.tensor(limits, dtype=torch.int32))
        self.step.zero_()
        self.losses.zero_()
        self.run(max(limits))
        self.base += self.limit
        return (self.losses / self.limit).cpu().numpy()

    def predict(self, first, last, batch=2000):
        """Probabilities [m, last - first, 10] of images as they are."""
        if self.test is None:
            self.test = self._buffers(batch)
            self.test_steps = (
                torch.zeros(1, dtype=torch.int32, device=self.device),
                torch.ones_like(self.limit),
            )
        bias5, w6 = self.weights[:, None, B5:W6], self.weights[:, W6:B6].view(self.m, 512, 10)
        found = []
        for start in range(first, last, batch):
            index = torch.arange(
                start, start + batch, dtype=torch.int32, device=self.device
            ).clamp_(max=last - 1)
            self._forward(self.test, self.test_steps, index, (0.0, 0.0), False)
            logits = torch.relu(self.test["z"] + bias5) @ w6 + self.weights[:, None, B6:LENGTH]
            found.append(torch.softmax(logits, -1))
        return torch.cat(found, 1)[:, : last - first]


def initial(seed):
    """Flat weights: Glorot uniform kernels, zero biases."""
    rng, flat = np.random.default_rng([seed, 4]), np.zeros(SIZE, np.float32)
    for shape, offset in zip(SHAPES, OFFSETS, strict=False):
        if len(shape) == 2:
            taps = 9 if offset < W5 else 1
            reach = np.sqrt(6 / (shape[0] + shape[1] * taps))
            flat[offset : offset + shape[0] * shape[1]] = rng.uniform(-reach, reach, shape).ravel()
    return flat
