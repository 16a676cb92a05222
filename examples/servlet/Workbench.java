import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/**
 * The workbench as a servlet: small routes that try out every way to answer. Benchmarks and conformance tests drive servers
 * through it (see {@code examples/workbench.rs} for what each route answers).
 *
 * <pre>
 * mkdir -p workbench/WEB-INF/classes
 * javac -cp /usr/share/java/tomcat10-embed-core.jar -d workbench/WEB-INF/classes Workbench.java
 * tidegate-servlet workbench
 * </pre>
 */
@WebServlet("/")
public final class Workbench extends HttpServlet {
    private static final String TEXT = "text/plain";
    private static final String JSON = "application/json";

    /** The largest numbers that make sense in a query; beyond them 400. */
    private static final long BYTES_MAX = 1L << 40;
    private static final long PIECE_SIZE_MAX = 16 << 20;
    private static final long SLEEP_MILLIS_MAX = 3_600_000;

    /** A request that makes no sense. */
    private static final class BadRequest extends Exception {}

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        try {
            route(request, response);
        } catch (BadRequest error) {
            text(response, 400, "Bad Request\n");
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private void route(HttpServletRequest request, HttpServletResponse response)
            throws IOException, BadRequest, InterruptedException {
        // Decoded, and without a context.
        String path = request.getServletPath();
        String allowed = switch (path) {
            case "/echo", "/environ" -> null;
            case "/plaintext", "/bytes", "/status" -> "GET, HEAD";
            case "/json", "/stream", "/sleep", "/fail", "/fail-midway", "/header" -> "GET";
            default -> "";
        };
        if ("".equals(allowed)) {
            text(response, 404, "Not Found\n");
            return;
        }
        if (allowed != null && !Arrays.asList(allowed.split(", ")).contains(request.getMethod())) {
            response.setHeader("Allow", allowed);
            text(response, 405, "Method Not Allowed\n");
            return;
        }
        switch (path) {
            case "/plaintext" -> text(response, 200, "Hello, World!");
            case "/json" -> send(response, JSON, utf8("{\"message\":" + quoted("Hello, World!") + "}"));
            case "/echo" -> echo(request, response);
            case "/environ" -> send(response, JSON, utf8(environ(request)));
            case "/bytes" -> {
                long count = number(request, "n", 0, BYTES_MAX);
                response.setContentType(TEXT);
                response.setContentLengthLong(count);
                write(response.getOutputStream(), count);
            }
            case "/stream" -> stream(request, response);
            case "/sleep" -> {
                long millis = number(request, "ms", 0, SLEEP_MILLIS_MAX);
                Thread.sleep(millis);
                text(response, 200, "slept " + millis);
            }
            case "/status" -> response.setStatus((int) number(request, "code", 200, 599));
            case "/fail" -> throw new IllegalStateException("the application fails");
            case "/fail-midway" -> {
                response.setContentType(TEXT);
                response.getOutputStream().write(utf8("begin"));
                response.flushBuffer();
                throw new IllegalStateException("the application fails midway");
            }
            default -> {
                String name = word(request, "name");
                if (name.isEmpty()) {
                    // Catalina passes over it, and the server never hears of it.
                    throw new IllegalArgumentException("a field without a name");
                }
                response.setHeader(name, word(request, "value"));
                text(response, 200, "");
            }
        }
    }

    private static void echo(HttpServletRequest request, HttpServletResponse response) throws IOException {
        byte[] content = request.getInputStream().readAllBytes();
        String type = request.getContentType();
        send(response, type == null ? "application/octet-stream" : type, content);
    }

    private static void stream(HttpServletRequest request, HttpServletResponse response)
            throws IOException, BadRequest {
        long chunks = number(request, "chunks", 0, BYTES_MAX);
        long size = number(request, "size", 0, PIECE_SIZE_MAX);
        response.setContentType(TEXT);
        // Otherwise the length of what fits into the buffer would be known.
        response.flushBuffer();
        for (long chunk = 0; chunk < chunks; chunk++) {
            write(response.getOutputStream(), size);
            response.flushBuffer();
        }
    }

    private static String environ(HttpServletRequest request) throws IOException {
        Map<String, String> environ = new LinkedHashMap<>();
        environ.put("REQUEST_METHOD", request.getMethod());
        environ.put("SCRIPT_NAME", request.getContextPath());
        environ.put("PATH_INFO", request.getServletPath());
        environ.put("QUERY_STRING", request.getQueryString() == null ? "" : request.getQueryString());
        if (request.getContentType() != null) {
            environ.put("CONTENT_TYPE", request.getContentType());
        }
        if (request.getContentLengthLong() >= 0) {
            environ.put("CONTENT_LENGTH", String.valueOf(request.getContentLengthLong()));
        }
        environ.put("SERVER_NAME", request.getServerName());
        environ.put("SERVER_PORT", String.valueOf(request.getServerPort()));
        environ.put("SERVER_PROTOCOL", request.getProtocol());
        environ.put("REMOTE_ADDR", request.getRemoteAddr());
        environ.put("REMOTE_PORT", String.valueOf(request.getRemotePort()));
        for (String name : Collections.list(request.getHeaderNames())) {
            String variable = name.toUpperCase(Locale.ROOT).replace('-', '_');
            if (!variable.equals("CONTENT_TYPE") && !variable.equals("CONTENT_LENGTH")) {
                String value = String.join(", ", Collections.list(request.getHeaders(name)));
                environ.put("HTTP_" + variable, value);
            }
        }
        environ.put("body_length", String.valueOf(request.getInputStream().readAllBytes().length));
        StringBuilder json = new StringBuilder("{");
        environ.forEach((name, value) -> json.append(json.length() == 1 ? "" : ",").append(quoted(name)).append(':')
                .append(quoted(value)));
        return json.append('}').toString();
    }

    private static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char character : text.toCharArray()) {
            if (character < ' ' || character == '"' || character == '\\') {
                json.append(String.format("\\u%04x", (int) character));
            } else {
                json.append(character);
            }
        }
        return json.append('"').toString();
    }

    /** A word of the query as it was sent: content that is a form is left to who reads it. */
    private static String word(HttpServletRequest request, String name) throws BadRequest {
        String query = request.getQueryString() == null ? "" : request.getQueryString();
        for (String pair : query.split("&")) {
            if (pair.startsWith(name + "=")) {
                return URLDecoder.decode(pair.substring(name.length() + 1), StandardCharsets.UTF_8);
            }
        }
        throw new BadRequest();
    }

    private static long number(HttpServletRequest request, String name, long min, long max) throws BadRequest {
        try {
            long number = Long.parseLong(word(request, name));
            if (number >= min && number <= max) {
                return number;
            }
        } catch (NumberFormatException error) {
            // Said below.
        }
        throw new BadRequest();
    }

    private static void text(HttpServletResponse response, int code, String text) throws IOException {
        response.setStatus(code);
        send(response, TEXT, utf8(text));
    }

    private static void send(HttpServletResponse response, String type, byte[] content) throws IOException {
        response.setContentType(type);
        response.setContentLength(content.length);
        response.getOutputStream().write(content);
    }

    private static void write(OutputStream out, long count) throws IOException {
        byte[] piece = new byte[(int) Math.min(count, 16 * 1024)];
        Arrays.fill(piece, (byte) 'x');
        for (long left = count; left > 0; left -= Math.min(left, piece.length)) {
            out.write(piece, 0, (int) Math.min(left, piece.length));
        }
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
