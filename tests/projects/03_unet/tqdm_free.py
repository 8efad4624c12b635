def progress(iterable, total):
    for number, item in enumerate(iterable):
        if number % 50 == 0:
            print(f"\r{number}/{total}", end="")
        yield item
    print()
