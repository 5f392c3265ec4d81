"""Parts of one's own: importing this package is cheap, `register` adds them to crossl."""


def register() -> None:
    """Add every part; crossl calls this by the package's entry point."""
    import crossl
    from own_parts import tones
    from own_parts.average import AverageConfig
    from own_parts.energy import EnergyConfig
    from own_parts.ordinal import OrdinalConfig
    from own_parts.plain import PlainConfig
    from own_parts.reverse import ReverseConfig
    from own_parts.spectrum import SpectrumConfig
    from own_parts.uniform import UniformConfig

    crossl.register("encoder", SpectrumConfig)
    crossl.register("aggregator", AverageConfig)
    crossl.register("objective", UniformConfig)
    crossl.register("augmentation", ReverseConfig)
    crossl.register("method", PlainConfig)
    crossl.register("contender", EnergyConfig)
    crossl.register("task", OrdinalConfig)
    crossl.register("reader", tones, name="tones")
