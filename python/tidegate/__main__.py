def main():
    from tidegate import _tidegate
    print(_tidegate.version())
