flash_attn_func = None  # imported by GPT-NeoX, called for other positions only
