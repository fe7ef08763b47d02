"""What D and G minimise with each loss, in TeX, for the pages of the models. D(x) is a logit."""

LOSSES = {
    "non-saturating": (
        r"-\mathbb{E}_x[\log \sigma(D(x))] - \mathbb{E}_z[\log(1 - \sigma(D(G(z))))]",
        r"-\mathbb{E}_z[\log \sigma(D(G(z)))]",
    ),
    "saturating": (
        r"-\mathbb{E}_x[\log \sigma(D(x))] - \mathbb{E}_z[\log(1 - \sigma(D(G(z))))]",
        r"\mathbb{E}_z[\log(1 - \sigma(D(G(z))))]",
    ),
    "least-squares": (
        r"\tfrac12 \mathbb{E}_x[(D(x) - 1)^2] + \tfrac12 \mathbb{E}_z[D(G(z))^2]",
        r"\tfrac12 \mathbb{E}_z[(D(G(z)) - 1)^2]",
    ),
    "hinge": (
        r"\mathbb{E}_x[\max(0, 1 - D(x))] + \mathbb{E}_z[\max(0, 1 + D(G(z)))]",
        r"-\mathbb{E}_z[D(G(z))]",
    ),
    "wasserstein": (r"\mathbb{E}_z[D(G(z))] - \mathbb{E}_x[D(x)]", r"-\mathbb{E}_z[D(G(z))]"),
    "relativistic": (
        r"-\mathbb{E}_{x, z}[\log \sigma(D(x) - D(G(z)))]",
        r"-\mathbb{E}_{x, z}[\log \sigma(D(G(z)) - D(x))]",
    ),
}
"""For each adversarial loss of the registry: D's and G's."""

PENALTIES = {
    "gradient_penalty": r"\mathbb{E}_{\hat x}[(\lVert \nabla D(\hat x) \rVert_2 - 1)^2]",
    "r1": r"\tfrac12 \mathbb{E}_x[\lVert \nabla D(x) \rVert_2^2]",
    "r2": r"\tfrac12 \mathbb{E}_z[\lVert \nabla D(G(z)) \rVert_2^2]",
}
"""For each penalty of the table [loss]: its term in D's objective, without its weight."""

PATH_LENGTH = (
    "",
    r" + \gamma \, \mathbb{E}_{z, y}[(\lVert J^\top y \rVert_2 - a)^2]",
    r"J is the derivative of the image by w, y an image of N(0, 1) divided by its side, a the running mean of the "
    "lengths, and γ the setting `path_length`.",
)

TERMS = {
    "acgan": (
        r" - w \, \mathbb{E}[\log P(c \mid x)] - w \, \mathbb{E}[\log P(c \mid G(z, c))]",
        r" - w \, \mathbb{E}[\log P(c \mid G(z, c))]",
        "P(c | x) is the output of the class head on the trunk, and w the setting `class_weight`.",
    ),
    "projection-gan": (
        "",
        "",
        r"where D(x) stands for $D(x, y) = \langle v_y, \varphi(x) \rangle + \psi(\varphi(x))$ (eq. 3), with y the "
        "label of a real image or the class that a fake was generated from, φ the trunk, ψ the linear adversarial "
        "head and v the embedding of the classes. G(z) stands for G(z, y), whose batch norms compute "
        r"$\gamma_y (h - \mu) / \sigma + \beta_y$. [Conditioning on labels](../../labels.md) describes both.",
    ),
    "infogan": (
        r" - \lambda \, L_I(G, Q)",
        r" - \lambda \, L_I(G, Q)",
        r"$L_I(G, Q) = \mathbb{E}_{c \sim P(c),\, x \sim G(z, c)}[\log Q(c \mid x)] + H(c)$, "
        "and λ is `lambda_discrete` or `lambda_continuous`, by the code; D's step trains Q and the trunk with it. "
        "[The recipe](../../recipe.md) describes `consistency` and the learned prior, [The method](../../method.md) "
        "the rest.",
    ),
    "infogan-cr": (
        r" - \lambda \, L_I(G, Q) - \alpha \, L_c(G, H)",
        r" - \lambda \, L_I(G, Q) - \alpha \, L_c(G, H)",
        r"$L_I$ is [InfoGAN's](infogan.md), $L_c(G, H) = \mathbb{E}[\log H_i(x, x')]$ for a pair of images that shares "
        "code i, and α the setting `contrast`; D's step trains H with it.",
    ),
} | dict.fromkeys(("stylegan2", "stylegan2-ada"), PATH_LENGTH)
"""For models with terms of their own: what they add to D's and G's objective, and what their symbols mean."""

INSTEAD = {
    "infovae": (
        r"\tfrac{1}{2 \sigma^2} \mathbb{E}_x[\lVert x - G(z, \hat c) \rVert^2] + "
        r"\beta \, \mathrm{KL}(q(z \mid x) \,\Vert\, p(z)) - \lambda \, L_I(G, Q)",
        r"\tfrac{1}{2 \sigma^2} \mathbb{E}_x[\lVert x - G(z, \hat c) \rVert^2] - \lambda \, L_I(G, Q)",
        r"$z \sim q(z \mid x)$ is read from the features of x, $\hat c$ its most likely code by Q, σ the setting "
        "`deviation`, β `beta`, and $L_I$ [InfoGAN's](infogan.md), of images decoded from the prior. "
        "D is the encoder: its trunk, and Q. There is no adversarial loss: both minimise one bound, in turn.",
    ),
}
"""For models without an adversarial loss: D's and G's objective, and what their symbols mean."""
