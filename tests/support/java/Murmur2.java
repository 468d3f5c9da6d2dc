import java.io.*;
import org.apache.kafka.common.utils.Utils;

/** Kafka's own hash of keys: one a line, in hexadecimal. */
public class Murmur2 {
    public static void main(String[] args) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder told = new StringBuilder();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            byte[] key = new byte[line.length() / 2];
            for (int at = 0; at < key.length; at++) {
                key[at] = (byte) Integer.parseInt(line.substring(2 * at, 2 * at + 2), 16);
            }
            told.append(Utils.murmur2(key)).append('\n');
        }
        System.out.print(told);
    }
}
