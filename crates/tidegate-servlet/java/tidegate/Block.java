package tidegate;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A block of bytes that is written: numbers of four bytes, and texts with their length before them. */
final class Block {
    byte[] bytes;
    int end;

    Block(int capacity) {
        bytes = new byte[capacity];
    }

    void clear() {
        end = 0;
    }

    void makeRoom(int more) {
        if (bytes.length - end < more) {
            bytes = Arrays.copyOf(bytes, Math.max(end + more, bytes.length * 2));
        }
    }

    void putNumber(int number) {
        makeRoom(4);
        putNumber(end, number);
        end += 4;
    }

    void putNumber(int at, int number) {
        bytes[at] = (byte) (number >> 24);
        bytes[at + 1] = (byte) (number >> 16);
        bytes[at + 2] = (byte) (number >> 8);
        bytes[at + 3] = (byte) number;
    }

    /** Writes a text in Latin-1, which is what fields are in; other characters become question marks. */
    void putText(String text) {
        byte[] encoded = text.getBytes(StandardCharsets.ISO_8859_1);
        putBytes(encoded, 0, encoded.length);
    }

    void putBytes(byte[] from, int start, int length) {
        putNumber(length);
        makeRoom(length);
        System.arraycopy(from, start, bytes, end, length);
        end += length;
    }

    /** Reads a number out of a block. */
    static int number(byte[] block, int at) {
        return (block[at] & 0xff) << 24 | (block[at + 1] & 0xff) << 16 | (block[at + 2] & 0xff) << 8 | block[at + 3] & 0xff;
    }

    static long longNumber(byte[] block, int at) {
        return (long) number(block, at) << 32 | number(block, at + 4) & 0xffffffffL;
    }
}
