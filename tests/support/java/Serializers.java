import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.UUID;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;

/**
 * Kafka's own serializers and deserializers, for tests/java.rs.
 *
 * Reads lines "KIND VALUE BYTES": the value as the test writes it down (bits in hex, text in hex of its UTF-8), and the
 * bytes that franking wrote, in hex. Answers each with "BYTES VALUE": the bytes that Kafka's serializer writes for the
 * value, and the value that Kafka's deserializer reads from franking's bytes. "null" is null, "-" is empty.
 */
public class Serializers {
    static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws IOException {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        var out = new StringBuilder();
        for (String line; (line = in.readLine()) != null; ) {
            String[] parts = line.split(" ");
            out.append(answer(parts[0], parts[1], bytes(parts[2]))).append('\n');
        }
        System.out.print(out);
    }

    static String answer(String kind, String value, byte[] theirs) {
        switch (kind) {
            case "bool": return both(Serdes.Boolean(), nullOr(value, Serializers::bool), theirs, it -> it ? "1" : "0");
            case "i16": return both(Serdes.Short(), nullOr(value, it -> (short) bits(it)), theirs, it -> hex(it & 0xffffL));
            case "i32": return both(Serdes.Integer(), nullOr(value, it -> (int) bits(it)), theirs, it -> hex(it & 0xffffffffL));
            case "i64": return both(Serdes.Long(), nullOr(value, Serializers::bits), theirs, Serializers::hex);
            case "f32": return both(Serdes.Float(), nullOr(value, it -> Float.intBitsToFloat((int) bits(it))), theirs,
                it -> hex(Float.floatToRawIntBits(it) & 0xffffffffL));
            case "f64": return both(Serdes.Double(), nullOr(value, it -> Double.longBitsToDouble(bits(it))), theirs,
                it -> hex(Double.doubleToRawLongBits(it)));
            case "string": return both(Serdes.String(), nullOr(value, Serializers::text), theirs,
                it -> hex(it.getBytes(StandardCharsets.UTF_8)));
            case "bytes": return both(Serdes.ByteArray(), bytes(value), theirs, Serializers::hex);
            // Java's two other serializers of bytes, which write the same.
            case "Bytes": return both(Serdes.Bytes(), nullOr(value, it -> Bytes.wrap(bytes(it))), theirs, it -> hex(it.get()));
            case "ByteBuffer": return both(Serdes.ByteBuffer(), nullOr(value, it -> ByteBuffer.wrap(bytes(it))), theirs,
                it -> hex(it.array()));
            case "uuid": return both(Serdes.UUID(), nullOr(value, Serializers::uuid), theirs,
                it -> hex(it.toString().getBytes(StandardCharsets.US_ASCII)));
            case "unit": return both(Serdes.Void(), null, theirs, it -> "a value");
            default: throw new IllegalArgumentException(kind);
        }
    }

    static <T> String both(Serde<T> serde, T value, byte[] theirs, java.util.function.Function<T, String> show) {
        byte[] ours = serde.serializer().serialize("topic", value);
        T read = serde.deserializer().deserialize("topic", theirs);
        return hex(ours) + " " + (read == null ? "null" : show.apply(read));
    }

    static <T> T nullOr(String value, java.util.function.Function<String, T> read) {
        return value.equals("null") ? null : read.apply(value);
    }

    static boolean bool(String value) {
        return value.equals("1");
    }

    static long bits(String value) {
        return Long.parseUnsignedLong(value, 16);
    }

    static String text(String value) {
        return new String(bytes(value), StandardCharsets.UTF_8);
    }

    static UUID uuid(String value) {
        return UUID.fromString(text(value));
    }

    static byte[] bytes(String value) {
        switch (value) {
            case "null": return null;
            case "-": return new byte[0];
            default: return HEX.parseHex(value);
        }
    }

    static String hex(long bits) {
        return Long.toHexString(bits);
    }

    static String hex(byte[] bytes) {
        if (bytes == null) {
            return "null";
        }
        return bytes.length == 0 ? "-" : HEX.formatHex(bytes);
    }
}
