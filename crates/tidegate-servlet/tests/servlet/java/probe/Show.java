package probe;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.Cookie;
import jakarta.servlet.http.HttpServletMapping;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** Says what the request says, for each word of {@code X-Show}. */
@WebServlet(name = "show", urlPatterns = {"/show/*", "*.shown", "/exact", "/Gr\u00fc\u00dfe"})
public class Show extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        StringBuilder answer = new StringBuilder();
        for (String word : request.getHeader("X-Show").split(" ")) {
            answer.append(answer.length() == 0 ? "" : " | ").append(show(request, word));
        }
        response.getOutputStream().write(utf8(answer.toString()));
    }

    static Object show(HttpServletRequest request, String word) throws Exception {
        if (word.startsWith("header:")) {
            return request.getHeader(word.substring("header:".length()));
        }
        if (word.startsWith("headers:")) {
            return Collections.list(request.getHeaders(word.substring("headers:".length())));
        }
        return switch (word) {
            case "method" -> request.getMethod();
            case "uri" -> request.getRequestURI();
            case "url" -> request.getRequestURL();
            case "context" -> request.getContextPath();
            case "servlet" -> request.getServletPath();
            case "info" -> request.getPathInfo();
            case "query" -> request.getQueryString();
            case "protocol" -> request.getProtocol();
            case "scheme" -> request.getScheme();
            case "secure" -> request.isSecure();
            case "host" -> request.getServerName();
            case "port" -> request.getServerPort();
            case "remote" -> request.getRemoteAddr() + " " + request.getRemoteHost() + " "
                    + (request.getRemotePort() > 0);
            case "local" -> request.getLocalAddr() + " " + (request.getLocalPort() > 0);
            case "length" -> request.getContentLengthLong();
            case "type" -> request.getContentType();
            case "charset" -> request.getCharacterEncoding();
            case "locales" -> Collections.list(request.getLocales());
            case "mapping" -> mapping(request.getHttpServletMapping());
            case "names" -> Collections.list(request.getHeaderNames()).stream()
                    .map(String::toLowerCase).sorted().collect(Collectors.toList());
            case "parameters" -> parameters(request.getParameterMap());
            case "cookies" -> cookies(request.getCookies());
            case "session" -> request.getRequestedSessionId() + " " + request.isRequestedSessionIdFromURL();
            case "date" -> request.getDateHeader("If-Modified-Since");
            case "int" -> request.getIntHeader("X-Number");
            case "dispatcher" -> request.getDispatcherType();
            case "async" -> request.isAsyncSupported();
            case "connection" -> request.getServletConnection().getProtocol() + " "
                    + request.getServletConnection().isSecure() + " "
                    + request.getServletConnection().getConnectionId().isEmpty() + " "
                    + request.getRequestId().isEmpty();
            case "body" -> sum(request.getInputStream().readAllBytes());
            case "text" -> request.getReader().lines().collect(Collectors.joining("/"));
            case "trailers-before" -> request.isTrailerFieldsReady();
            case "trailers" -> request.isTrailerFieldsReady() + " " + new TreeMap<>(request.getTrailerFields());
            default -> throw new IllegalArgumentException(word);
        };
    }

    private static String mapping(HttpServletMapping mapping) {
        return mapping.getMappingMatch() + " " + mapping.getMatchValue() + " " + mapping.getPattern() + " "
                + mapping.getServletName();
    }

    private static String parameters(Map<String, String[]> parameters) {
        return new TreeMap<>(parameters).entrySet().stream()
                .map(entry -> entry.getKey() + "=" + Arrays.toString(entry.getValue()))
                .collect(Collectors.joining(","));
    }

    private static String cookies(Cookie[] cookies) {
        return cookies == null ? "none" : Arrays.stream(cookies)
                .map(cookie -> cookie.getName() + "=" + cookie.getValue()).collect(Collectors.joining(","));
    }
}
