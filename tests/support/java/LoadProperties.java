import java.io.*;
import java.util.*;

/** What Java makes of texts in `.properties` syntax: one a line, in hexadecimal, UTF-16. */
public class LoadProperties {
    public static void main(String[] args) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Properties properties = new Properties();
            try {
                properties.load(new StringReader(text(line)));
                StringBuilder told = new StringBuilder();
                for (String name : new TreeSet<>(properties.stringPropertyNames())) {
                    told.append(hex(name)).append('=').append(hex(properties.getProperty(name))).append(' ');
                }
                out.println(told);
            } catch (IllegalArgumentException refused) {
                out.println("refused");
            }
        }
        out.flush();
    }

    private static String text(String hex) {
        StringBuilder text = new StringBuilder();
        for (int at = 0; at < hex.length(); at += 4) {
            text.append((char) Integer.parseInt(hex.substring(at, at + 4), 16));
        }
        return text.toString();
    }

    private static String hex(String text) {
        StringBuilder hex = new StringBuilder();
        for (char unit : text.toCharArray()) {
            hex.append(String.format("%04x", (int) unit));
        }
        return hex.toString();
    }
}
