"""StyleGAN2-ADA: StyleGAN2 whose discriminator sees augmented images, more of them the more it overfits."""

from gan_zoo.models.stylegan2.model import StyleGAN2
from gan_zoo.models.stylegan2_ada.settings import StyleGAN2ADARecipe


class StyleGAN2ADA(StyleGAN2ADARecipe, StyleGAN2):
    """StyleGAN2 with adaptive augmentation, for few images (Karras et al., 2020, arXiv:2006.06676).

    The augmentation is a setting of the data, `data.augment_target`, that every model accepts. Set `data.augment` to
    operations that suit the data: the default flips and rotates images.
    """
